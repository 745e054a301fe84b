"""The part of a handle that waits for changes of the object, and is called back for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from .errors import UsageError
from .locking import LockingMember
from .options import check_path
from .runtime.own_threads import refuse_waiting

if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultTypeVar  # type checkers have it built in

    from .runtime.changes import Changes
    from .runtime.dispatcher import Subscription
    from .runtime.observer import Change
    from .runtime.observers import Observers
    from .runtime.participant import Participant

    TState = DefaultTypeVar("TState", default=dict[str, Any])
else:
    TState = TypeVar("TState")  # with a default from Python 3.13 on
TValue = TypeVar("TValue")

_LONGEST = 3600.0  # seconds of `throttle` and `debounce`


class Watching(LockingMember, Generic[TState]):
    """What waits for the object to change: in a call, in a loop, or with a callback."""

    # The parts of a handle are a chain: two bases that were reloaded at two times have no common
    # lay-out.
    __slots__ = ()

    def wait_for(
        self,
        condition: Mapping[str, Any] | Callable[[TState], object],
        timeout: float | None = None,
    ) -> TState:
        """Wait until the object satisfies `condition`; returns the snapshot that satisfies it.

        Parameters:
            condition: a MongoDB query
                (https://www.mongodb.com/docs/manual/reference/operator/query/), or a function of
                the read-only object; it is tested now and after each change that may matter to it
            timeout: seconds; the default is the option ``timeout``

        Raises `WaitTimeoutError`, `UpdateError` for an invalid query, `NotStartedError` when this
        peer stops meanwhile, `UsageError` inside a callback (it would block the callbacks that it
        waits for), and what the function raises.

        >>> from memsync import MemSync
        >>> with MemSync("task", {"state": "new"}, engine="memory") as mem:
        ...     future = mem.submit({"$set": {"state": "done"}})
        ...     mem.wait_for({"state": "done"}, timeout=10)
        {'state': 'done'}
        """
        from .runtime.waiting import wait_for

        refuse_waiting("wait_for()")
        seconds = self._seconds(timeout)
        self._dispatcher.refuse_blocking("wait_for()", "read mem.data in the callback")
        snapshot: TState = wait_for(self._participating(), condition, seconds, self._use)
        return snapshot

    def changes(
        self,
        path: str = "",
        since: int | None = None,
        initial: bool = False,
        timeout: float | None = None,
    ) -> Changes:
        """An iterator over ``(value, version)``: the value at a path after each batch.

        A batch is a write of this peer when it shows in ``mem.data``, or the writes of others that
        arrive together. A batch that does not change the value yields nothing. The value is None
        where there is none. The iteration ends when this peer stops, and with `Changes.close`.

        Batches are kept until they are consumed: the last thousand of values up to 4 KiB. Where
        more come, or the value is larger, they are merged: the iterator yields the newest value,
        and ``missed`` is how many were left out before it. That goes on over changes of host.

        Parameters:
            path: a dotted path, ``""`` for the whole object
            since: a version. The values after each later version come first, as far as they follow
                from the log of this peer, which has the operations of ``network.maxLog`` entries.
                An operation inside of a value is of use only after one that sets the value as a
                whole. What does not follow counts in ``missed``, and the value of now comes behind.
                A pending write of this peer comes with the version before it, so after ``since``
                with that version it comes again. A version that this peer has not reached, from a
                former life of the object, say, is followed by the value of now, with ``missed``.
            initial: yield at least the value of now first, so that a loop that starts late ends
            timeout: seconds without a change after which the iteration ends. That is no error: a
                `for` loop is left as usual. None: for ever.

        Raises `UsageError` for an invalid argument.

        >>> from memsync import MemSync
        >>> with MemSync("meter", {"n": 0}, engine="memory") as mem:
        ...     changes = mem.changes("n")
        ...     _ = [mem.patch({"$inc": {"n": 5}}) for _ in range(2)]
        ...     next(changes), next(changes)
        ...     [value for value, _ in mem.changes("n", since=mem.version - 1, timeout=0)]
        ((5, 2), (10, 3))
        [10]
        """
        from .runtime.changes import Changes

        seconds = None if timeout is None else self._seconds(timeout)
        return Changes(self._participating(), path, since, bool(initial), seconds, self)

    @overload
    def observe(
        self,
        path: str,
        callback: Callable[[Any], object],
        immediate: bool = False,
        throttle: float | None = None,
        debounce: float | None = None,
        changes: Literal[False] = False,
    ) -> Subscription: ...
    @overload
    def observe(
        self,
        path: str,
        callback: Callable[[Change[Any]], object],
        immediate: bool = False,
        throttle: float | None = None,
        debounce: float | None = None,
        *,
        changes: Literal[True],
    ) -> Subscription: ...
    @overload
    def observe(
        self,
        path: Callable[[TState], TValue],
        callback: Callable[[TValue], object],
        immediate: bool = False,
        throttle: float | None = None,
        debounce: float | None = None,
        changes: Literal[False] = False,
    ) -> Subscription: ...
    @overload
    def observe(
        self,
        path: Callable[[TState], TValue],
        callback: Callable[[Change[TValue]], object],
        immediate: bool = False,
        throttle: float | None = None,
        debounce: float | None = None,
        *,
        changes: Literal[True],
    ) -> Subscription: ...
    def observe(
        self,
        path: str | Callable[[Any], Any],
        callback: Callable[[Any], object],
        immediate: bool = False,
        throttle: float | None = None,
        debounce: float | None = None,
        changes: bool = False,
    ) -> Subscription:
        """Call ``callback(value)`` whenever the value at a path has changed; see docs/observers.md.

        The value is compared at the end of each batch: a write of this peer when it shows in
        ``mem.data``, or the writes of others that arrive together. The callback runs on the
        dispatcher thread, in the order of the changes. It gets a detached copy, None where there is
        no value. While it runs, or waits for its turn, further changes are merged: the next call
        has the newest value, and there is none if that is the value of the last call.

        Parameters:
            path: a dotted path, ``""`` for the whole object, or a function of the object. What the
                function reads of its argument is noted, and only a change there makes it run again,
                perhaps more than once. It must only read its argument.
            callback: what it raises is logged
            immediate: call it once with the value of now, too, before all changes
            throttle: the seconds between the end of a call and the next one, at least
            debounce: the seconds without a write to the value after which it is called
            changes: the callback gets a `Change`, with the old and the new value

        `stop` makes the calls that `throttle` and `debounce` have put off.

        Returns a `Subscription`. No call begins after its `cancel` has returned. The callback
        belongs to this handle: it stays when the handle stops and starts again, and in a forked
        child from its first use of the object on. Pickled copies begin without. Raises `UsageError`
        for an invalid argument, `NotStartedError`, and what the function raises when it is called
        for the first time.

        >>> from memsync import MemSync
        >>> with MemSync("cart", {"items": ["tea"]}, engine="memory") as mem:
        ...     with mem.observe(lambda data: len(data["items"]), print, immediate=True):
        ...         _ = mem.patch({"$push": {"items": "milk"}})
        ...         mem.stop()  # makes the calls that wait
        1
        2
        """
        from .runtime.callbacks import check_callback

        if isinstance(path, str):
            if path:
                check_path(path)
        elif not callable(path):
            raise UsageError(
                f"observe() needs a path like 'a.b.0' or a function of the object, not {path!r:.60}"
            )
        else:
            check_callback("the function of observe()", path)
        check_callback("the callback of observe()", callback)
        if self._observers is not None and self._observers.is_interrupted():
            raise UsageError(
                "this observe() was made in the middle of another call of the same thread that "
                "registers or follows observers, by a signal handler or a finalizer: start a "
                "thread that observes, and do not wait for it"
            )
        participant = self._participating()
        observers = self._observers or self._begin_observing(participant)
        return observers.add(
            path,
            callback,
            immediate=bool(immediate),
            throttle=_pause("throttle", throttle),
            debounce=_pause("debounce", debounce),
            changes=bool(changes),
        )

    def _begin_observing(self, participant: Participant) -> Observers:
        from .runtime.observers import Observers

        with self._peer.lock:  # as in `start` and `stop`
            if self._observers is None:
                observers = Observers(self._dispatcher)
                observers.attach(participant)
                self._observers = observers
            return self._observers


def _pause(name: str, seconds: Any) -> float | None:
    """A checked argument in seconds; raises `UsageError`."""
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise UsageError(f"{name} must be a number of seconds, not {seconds!r:.60}")
    if not 0 <= seconds <= _LONGEST:
        raise UsageError(f"{name} must be 0 to {_LONGEST:g} seconds, not {seconds!r}")
    return float(seconds)
