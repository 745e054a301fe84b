"""`Lock` and `Semaphore`: named locks of all processes that share an object."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from .clocks import monotonic, wall
from .errors import LockLostError, LockTimeoutError, MemSyncError, UsageError
from .replication.kinds.lock import check_acquire, check_lock_name
from .replication.lock_part import Acquire, Place, lock_facts, lock_part
from .replication.membership import utc_text
from .runtime.callbacks import check_callback
from .runtime.lock_request import Lost
from .runtime.lock_requests import requests_of
from .runtime.own_threads import refuse_waiting

if TYPE_CHECKING:
    from typing import Self

    from .lifecycle import Lifecycle
    from .runtime.lock_request import LockRequest
    from .runtime.participant import Participant

RESERVED = "memsync."  # names of locks that memsync itself uses begin with it


class NamedPlaces:
    """What `Lock` and `Semaphore` have in common: the places that one object holds."""

    _KIND = "lock"

    def __init__(
        self,
        mem: Lifecycle,
        name: str,
        places: int,
        timeout: float | None,
        lease: float | None,
        on_lost: Callable[[Any], object] | None,
    ) -> None:
        if check_lock_name(name).startswith(RESERVED):
            raise UsageError(f"the name {name!r:.60} is memsync's own: choose another one")
        if on_lost is not None:
            check_callback("on_lost", on_lost)
        mem._seconds(timeout)
        if lease is not None and (isinstance(lease, bool) or not isinstance(lease, int | float)):
            raise UsageError(f"lease must be a number of seconds, not {lease!r:.60}")
        check_acquire(Acquire(name, 0, places, lease))
        self.name = name
        self._mem = mem
        self._places = places
        self._timeout = timeout
        self._lease = lease
        self._on_lost = on_lost
        self._held: list[LockRequest] = []  # changed by single steps in C
        self._last_lost = Lost()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Wait for the lock; returns True.

        The wait ends after the `timeout` of the lock (default: the option ``timeout``) with
        `LockTimeoutError`. With an own `timeout`, in seconds, or ``blocking=False`` it returns
        False instead, as `threading.Lock.acquire` does; a time-out of 0 tries once. Each waiting
        thread gets its turn in the order in which the host has ordered the requests.

        A lock that is lost before it is returned, its lease over for example, is asked for again
        while there is time.

        Raises `LockTimeoutError`, `NotStartedError`, `UsageError` for invalid arguments, and for a
        name that is in use with another number of places, and `QueueFullError`.
        """
        refuse_waiting("acquire()")
        seconds = self._seconds(blocking, timeout)
        mem = self._mem
        participant = mem._participating()
        # Who does not want to wait for the lock still waits for the host's answer.
        deadline = monotonic() + (seconds or mem._seconds(None))
        requests = requests_of(participant)
        request = requests.prepare(
            self.name,
            mem._use,
            mem._dispatcher,
            places=self._places,
            lease=self._lease,
            waits=bool(blocking) and seconds > 0,
            on_lost=None if self._on_lost is None else partial(self._on_lost, self),
        )
        try:
            if requests.acquire(request, deadline):
                self._last_lost = request.lost
                self._held.append(request)
                return True
        except MemSyncError:
            raise
        except BaseException:  # Ctrl-C, perhaps when it was granted already
            self._forget(request)
            requests.give_up_soon(request)
            raise
        if timeout != -1 or not blocking:
            return False
        raise timed_out(participant, self._KIND, self.name, seconds, request)

    def release(self) -> None:
        """Give the lock back, and wait until the host has taken it; any thread may call it.

        The longest waiting request gets the lock in the same step. Raises `LockLostError` when the
        lock was lost (`lost`), `UsageError` when this object does not hold it (in a forked child
        the parent holds it), and `WriteTimeoutError` when the host does not answer: the lock is
        released as soon as there is a host.
        """
        refuse_waiting("release()")
        self._release([])

    def _release(self, claimed: list[LockRequest]) -> None:
        """Give one place back; an interrupt only makes it a little later (see `_release_soon`)."""
        try:
            self._claim(claimed)
            self._release_claimed(claimed[0])
        except MemSyncError:
            raise
        except BaseException:
            self._release_soon(claimed)
            raise

    def _release_soon(self, claimed: list[LockRequest]) -> None:
        """After Ctrl-C, perhaps before the release was sent or anything was claimed."""
        if not claimed:
            with suppress(UsageError):
                self._claim(claimed)
        for request in claimed:
            request.is_unclaimed.clear()
            self._forget(request)
            requests_of(request.participant).give_up_soon(request)

    def _release_claimed(self, request: LockRequest) -> None:
        try:
            if request.lost.is_set() or request.has_ended:
                raise LockLostError(
                    f"the {self._KIND} {self.name!r} was lost before it was released: what was "
                    "done since then was done without it"
                )
            requests_of(request.participant).release(request, self._mem._seconds(None))
        except MemSyncError:
            self._forget(request)
            raise
        self._forget(request)

    def _claim(self, claimed: list[LockRequest]) -> None:
        """Put the newest place that no other thread is giving back into an empty list."""
        for request in reversed(self._held):
            if request.participant.is_of_parent:
                raise UsageError(
                    f"the {self._KIND} {self.name!r} is held by the parent process, not by this "
                    "forked child: only the parent can release it"
                )
            claimed.append(request)  # first, so that no interrupt leaves it claimed by nobody
            try:
                request.is_unclaimed.pop()
            except IndexError:
                claimed.clear()
                continue
            return
        raise UsageError(
            f"the {self._KIND} {self.name!r} is not held by this object: call acquire() first"
        )

    def _forget(self, request: LockRequest) -> None:
        with suppress(ValueError):
            self._held.remove(request)

    def locked(self) -> bool:
        """Whether no place is free, as far as this peer knows."""
        participant = self._mem._participating()
        with participant.guard:
            facts = lock_facts(participant.state).get(self.name)
        return facts is not None and len(facts["holders"]) >= facts["places"]

    @property
    def token(self) -> int | None:
        """The fencing token, while this object holds the lock; otherwise None.

        Each later holder gets a larger one. A resource that remembers the largest token that it has
        seen can refuse a former holder; ``mem.patch(..., lock=lock)`` does that.
        """
        request = self._newest()
        return request.token if request is not None else None

    @property
    def lost(self) -> Lost:
        """An event that is set when the lock is lost while this object holds it.

        Each `acquire` has an event of its own.
        """
        return self._last_lost

    def proof(self, mem: Lifecycle) -> list[Any]:
        """What shows the host of a handle that this object holds the lock.

        Raises `LockLostError`, and `UsageError` for another handle.
        """
        if mem._peer is not self._mem._peer:
            raise UsageError(
                f"the {self._KIND} {self.name!r} is of another handle: make it with lock() of the "
                "handle that writes"
            )
        request = self._newest()
        if request is None:
            raise LockLostError(
                f"the {self._KIND} {self.name!r} is not held by this object, or was lost: acquire "
                "it again, and decide on what is there now"
            )
        return [self.name, request.number, request.token]

    def _newest(self) -> LockRequest | None:
        return next((each for each in reversed(self._held) if each.is_held), None)

    def _seconds(self, blocking: bool, timeout: float) -> float:
        is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
        if is_number and timeout == -1:
            return self._mem._seconds(self._timeout)
        if not blocking:
            raise UsageError("acquire(blocking=False) does not wait: leave out the timeout")
        return self._mem._seconds(timeout)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        claimed: list[LockRequest] = []
        try:
            refuse_waiting("release()")
            self._release(claimed)
        except (LockLostError, UsageError):  # a child that was forked in the block holds nothing
            if kind is None:  # otherwise the exception is what the program is to see
                raise
        except MemSyncError:
            raise
        except BaseException:
            self._release_soon(claimed)  # once more, if the interrupt has hit the call itself
            raise

    def __repr__(self) -> str:
        state = "unlocked" if self._newest() is None else f"locked token={self.token}"
        return f"<{type(self).__name__} {self.name!r} {state}>"


class Lock(NamedPlaces):
    """A named mutex; made by `MemSync.lock`.

    It is used like a `threading.Lock`. The owner is this object: any thread may release it, and a
    second `acquire` waits. A copy by pickle begins without the lock, and so does a forked child's.
    """

    def __init__(
        self,
        mem: Lifecycle,
        name: str,
        timeout: float | None = None,
        lease: float | None = None,
        on_lost: Callable[[Lock], object] | None = None,
    ) -> None:
        super().__init__(mem, name, 1, timeout, lease, on_lost)

    def __reduce__(self) -> tuple[Any, ...]:
        return Lock, (self._mem, self.name, self._timeout, self._lease, self._on_lost)


class Semaphore(NamedPlaces):
    """A named semaphore; made by `MemSync.semaphore`.

    It is used like a `threading.BoundedSemaphore`: each `acquire` takes one of the places.
    """

    _KIND = "semaphore"

    def __init__(
        self,
        mem: Lifecycle,
        name: str,
        places: int,
        timeout: float | None = None,
        lease: float | None = None,
        on_lost: Callable[[Semaphore], object] | None = None,
    ) -> None:
        if isinstance(places, bool) or not isinstance(places, int) or places < 1:
            raise UsageError(f"a semaphore has 1 place or more, not {places!r:.60}")
        super().__init__(mem, name, places, timeout, lease, on_lost)

    def release(self, n: int = 1) -> None:
        """Give back `n` of the places that this object holds; see `Lock.release`."""
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise UsageError(f"release() gives back 1 place or more, not {n!r:.60}")
        if n > max(len(self._held), 1):
            raise UsageError(
                f"the semaphore {self.name!r} is held {len(self._held)} times by this object, so "
                f"{n} places cannot be given back"
            )
        for _ in range(n):
            super().release()

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (self._mem, self.name, self._places, self._timeout, self._lease, self._on_lost)
        return Semaphore, arguments


def timed_out(
    participant: Participant,
    kind: str,
    name: str,
    seconds: float,
    request: LockRequest | None = None,
) -> LockTimeoutError:
    """The error of a wait for a lock, with what this peer knows of the holder and of the others.

    The copy may still show the `request` that has waited.
    """
    with participant.guard:
        facts = lock_facts(participant.state).get(name)
        found = request and lock_part(participant.state).find(participant.id, request.number)
    if name.startswith(RESERVED):
        name = name.split(".", 2)[2]  # as the program has stated it
    if facts is None:
        return LockTimeoutError(
            f"the {kind} {name!r} was not acquired within {seconds:g} s, although nobody seems to "
            f"hold it: {participant.writer.describe_host()}"
        )
    first = facts["holders"][0]
    others = len(facts["holders"]) - 1
    waiting = len(facts["queue"]) - isinstance(found, Place)
    age = wall() - first["since"]
    return LockTimeoutError(
        f"the {kind} {name!r} was not free within {seconds:g} s: process {first['pid']} (peer "
        f"{first['id']}) has held it since {utc_text(first['since'])}, for "
        f"{age:.{1 if age < 100 else 0}f} s"
        f"{f', and {others} more' if others else ''}; "
        f"{'1 request waits' if waiting == 1 else f'{waiting} requests wait'}",
        holder=first["id"],
        pid=first["pid"],
        since=first["since"],
    )
