"""The part of a handle that makes named locks, and runs something once for all processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .at_exit import uses_to_leave
from .calls import CallingMember
from .errors import UsageError

if TYPE_CHECKING:
    from .locks import Lock, Semaphore

T = TypeVar("T")


class LockingMember(CallingMember):
    """What makes the processes of a group wait for each other."""

    __slots__ = ()

    def lock(
        self,
        name: str,
        timeout: float | None = None,
        lease: float | None = None,
        on_lost: Callable[[Lock], object] | None = None,
    ) -> Lock:
        """A named lock: one holder in all processes that share the object; see docs/locks.md.

        Nothing is acquired yet: use it with ``with``, or call `Lock.acquire`. Any member of the
        group may lock, also one without the role ``writer``. The lock is free as soon as its holder
        has died, or has called `stop`. A living holder never loses it, except with a `lease`.

        Parameters:
            name: 1 to 300 characters
            timeout: seconds to wait in ``with``; the default is the option ``timeout``
            lease: seconds after which a holder that is frozen (suspended, hung) loses it; a holder
                that runs keeps it as long as it likes
            on_lost: called as ``on_lost(lock)`` on the dispatcher thread when the lock is lost

        Raises `UsageError` for an invalid argument.

        >>> from memsync import MemSync
        >>> with MemSync("shelf", {"books": 3}, engine="memory") as mem:
        ...     with mem.lock("count") as lock:
        ...         _ = mem.patch({"$inc": {"books": -1}}, lock=lock)
        ...     lock.locked()
        False
        """
        from .locks import Lock

        return Lock(self, name, timeout, lease, on_lost)

    def semaphore(
        self,
        name: str,
        n: int,
        timeout: float | None = None,
        lease: float | None = None,
        on_lost: Callable[[Semaphore], object] | None = None,
    ) -> Semaphore:
        """A named semaphore of `n` places; all who use the name must state the same number.

        Otherwise like `lock`, whose names it shares.

        >>> from memsync import MemSync
        >>> with MemSync("lab", engine="memory") as mem:
        ...     gpus = mem.semaphore("gpu", 2)
        ...     [gpus.acquire(blocking=False) for _ in range(3)]
        [True, True, False]
        """
        from .locks import Semaphore

        return Semaphore(self, name, n, timeout, lease, on_lost)

    def once(self, name: str, function: Callable[[], T], *, timeout: float | None = None) -> T:
        """Run ``function()`` in one process of the group; all get what it returns or raises.

        The first caller runs it, the others wait, at most `timeout` seconds (default: the option
        ``timeout``). Later calls with the name get the same result at once, in every process, as
        long as the object lives. If the process dies that runs the function, the next caller runs
        it; so it does if the function raises what is no `Exception`, or the handle stops meanwhile.
        A result is a value like those of `call`, of at most 512 KiB, and so is an exception.

        Raises what the function has raised, or `RpcError` where that cannot be rebuilt here,
        `LockTimeoutError`, `UsageError`, `NotStartedError`.

        >>> from memsync import MemSync
        >>> with MemSync("cache", engine="memory") as mem:
        ...     [mem.once("warm_up", lambda: print("warming up") or 42) for _ in range(3)]
        warming up
        [42, 42, 42]
        """
        from .once import once

        result: T = once(self, name, function, timeout)
        return result

    def last_out(self, name: str, function: Callable[[], object]) -> None:
        """Have the last peer that leaves run ``function()``: the tear-down of a test session.

        Each peer that calls this takes part. Its `stop`, or the end of its process, runs the
        function if all the others have left; what it raises is logged. A peer that is killed drops
        out: if it would have been the last one, nobody runs the function.

        Raises `UsageError`, `NotStartedError` and `LockTimeoutError`.

        >>> from memsync import MemSync
        >>> with MemSync("session", engine="memory") as mem:
        ...     mem.last_out("tear_down", lambda: print("the last one is out"))
        the last one is out
        """
        from .once import last_out

        added = last_out(self, name, function)
        assert self._use is not None
        self._use.last_outs.append(added.leave)
        uses_to_leave.add(self._use)

    def locks(self) -> dict[str, dict[str, Any]]:
        """The locks and semaphores that somebody holds, as this peer knows them.

        By name: ``{"places": n, "holders": [{"id", "pid", "since", "token", "lease"}], "queue":
        [{"id", "pid"}]}``, with ``since`` in seconds since 1970. The queue is in its order.

        >>> from memsync import MemSync
        >>> with MemSync("shelf", engine="memory") as mem, mem.lock("count"):
        ...     mem.locks()["count"]["holders"][0]["id"] == mem.id
        True
        """
        from .replication.lock_part import lock_facts

        participant = self._participating()
        with participant.guard:
            return lock_facts(participant.state)


def proof_of(lock: Any, mem: LockingMember) -> list[Any] | None:
    """What a write with ``lock=lock`` carries; raises `UsageError` and `LockLostError`."""
    if lock is None:
        return None
    from .locks import NamedPlaces

    if not isinstance(lock, NamedPlaces):
        raise UsageError(f"lock must be a lock of mem.lock(), not {lock!r:.60}")
    return lock.proof(mem)
