"""`Events`: named events that every peer of the group gets, once and in one order.

An event is an entry of the log, as a write is, and changes no value. So it is acknowledged like a
write, it outlives the host, and it has its place among the patches.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .clocks import monotonic
from .errors import QueueFullError, UsageError, WriteTimeoutError
from .replication.kinds.event import EventKind, check_event_pattern
from .replication.kinds.presence import PresenceKind
from .runtime.announcer import Event, Gap
from .runtime.call import Call
from .runtime.callbacks import check_callback
from .runtime.dispatcher import Dispatcher, Subscription
from .runtime.event_router import EventRouter
from .runtime.event_stream import EventInbox, EventStream, checked_version, next_event
from .runtime.native import RLock
from .runtime.own_threads import refuse_waiting

if TYPE_CHECKING:
    from .lifecycle import Lifecycle
    from .runtime.participant import Participant

__all__ = ["Event", "EventStream", "Events", "Gap"]


_lock = RLock()  # reentrant: a signal handler may register a handler


class Events:
    """The events of one object; reached as ``mem.events``.

    A name has 1 to 300 characters and consists of parts with dots between them. Where a name is
    listened to, the part ``*`` stands for any one part, and ``**`` at the end for one part or more:
    ``job.*`` matches ``job.done``, ``job.**`` also ``job.done.late``, and ``**`` everything.

    Arguments are JSON values, of at most 64 KiB in all. Handlers run on the dispatcher thread, in
    the order of the log, which they share with ``received_patches``. Any member of the group may
    emit, also one without the role ``writer``.

    >>> from memsync import MemSync
    >>> with MemSync("shop", engine="memory") as mem:
    ...     subscription = mem.events.on("job.*", lambda name, number: print(name, number))
    ...     version = mem.events.emit("job.done", 7)
    job.done 7
    """

    __slots__ = ("_mem",)

    def __init__(self, mem: Lifecycle) -> None:
        self._mem = mem

    def on(self, name: str, callback: Callable[..., object]) -> Subscription:
        """Call `callback` for each later event of a name; returns a `Subscription`.

        For a plain name it is called as ``callback(*args)``, for one with wildcards as
        ``callback(name, *args)``. It may be registered before `start`, and stays over `stop` and
        `start`; a copy by pickle, or the handle of a forked child, joins, as at each first use.
        What it raises is logged, and the other handlers still run.

        When this peer falls behind, what it missed is reported by ``mem.on("gap", callback)``.

        Raises `UsageError` for an invalid name, and for what is not callable, or async.
        """
        return self._on(name, callback, once=False)

    def once(self, name: str, callback: Callable[..., object]) -> Subscription:
        """Call `callback` for the next event of a name only; otherwise like `on`."""
        return self._on(name, callback, once=True)

    def _on(self, name: str, callback: Callable[..., object], *, once: bool) -> Subscription:
        check_event_pattern(name)
        check_callback(f"the handler of {name!r:.60}", callback)
        return self._mem._registered(self._router().on(name, callback, once=once))

    def off(self, name: str, callback: Callable[..., object] | None = None) -> None:
        """End what `on` and `once` have registered under this name, or only `callback` there.

        Events that were ordered but not delivered yet are not delivered any more. A handler may
        call it, also for itself.

        Raises `UsageError` for an invalid name.
        """
        check_event_pattern(name)
        if callback is not None and not callable(callback):
            raise UsageError(f"the callback of off() must be callable, not {callback!r:.60}")
        self._router().off(name, callback)

    def emit(self, name: str, *args: Any, timeout: float | None = None) -> int:
        """Send an event to all peers, this one included; returns its version.

        It is acknowledged as `MemSync.patch` is with ``w=1``, and is then in two processes. For an
        event and a change of the object in one entry, see the argument `emit` of `MemSync.patch`.

        Raises, with nothing sent: `UsageError` for an invalid name, `NotSerializableError`,
        `TooLargeError`, `QueueFullError`, `NotStartedError`. Raises `WriteTimeoutError` if no
        answer came within `timeout` seconds; the event may still be sent.
        """
        refuse_waiting("events.emit()")
        seconds = self._mem._seconds(timeout)
        call = Call(deadline=monotonic() + seconds, kind=EventKind.name, event=(name, *args))
        return self._mem._participating().writer.patch(None, call, seconds)

    def wait(self, name: str, timeout: float | None = None, *, since: int | None = None) -> Event:
        """Wait for the next event of a name, which may have wildcards; returns it.

        It is the first one after this call, or with `since` after that version: start the work,
        and wait since the version of that write, so that no answer comes too early.

        Raises `WaitTimeoutError`, `UsageError` for an invalid name and inside a callback (it would
        block the callbacks that it waits for), and `NotStartedError` when this peer stops.

        >>> from memsync import MemSync
        >>> with MemSync("shop", engine="memory") as mem:
        ...     version = mem.events.emit("job.done", 7)
        ...     mem.events.wait("job.*", timeout=10, since=version - 1).args
        (7,)
        """
        refuse_waiting("events.wait()")
        seconds = self._mem._seconds(timeout)
        self._router().refuse_blocking("events.wait()")
        deadline = monotonic() + seconds
        inbox = self._inbox(name, since, deadline)
        try:
            return next_event(inbox, name, deadline, seconds)
        finally:
            inbox.close()

    def stream(self, name: str, since: int | None = None) -> EventStream:
        """An iterator over the events of a name, which may have wildcards, as `Event` tuples.

        It yields every event after this call, or with `since` after that version, as far back as
        the log of this peer goes (``network.maxLog``). In the place of events that it cannot have,
        it yields one `Gap` with their number: events of any name that the log no longer has, or
        for which this peer got a snapshot, and events that waited too long for the consumer (10,000
        may wait). It ends when this handle stops or with `EventStream.close`.

        A version that the group has not reached is of another history: of an earlier group of this
        name, say. It is followed by a `Gap` without a number, and by what comes from now on.

        Raises `UsageError` for an invalid name or version.

        >>> from memsync import MemSync
        >>> with MemSync("shop", engine="memory") as mem:
        ...     first = mem.events.emit("sold", "tea")
        ...     stream = mem.events.stream("sold", since=0)
        ...     next(stream)[:2]
        ('sold', ('tea',))
        """
        inbox = self._inbox(name, since, monotonic() + self._mem._seconds(None))
        return EventStream(inbox, self._mem)

    def _inbox(self, name: str, since: int | None, deadline: float) -> EventInbox:
        check_event_pattern(name)
        version = checked_version(since)
        participant = self._mem._participating()
        if version > participant.state.version:
            self._catch_up(participant, deadline)
        return EventInbox(participant, self._router(), name, since)

    def _catch_up(self, participant: Participant, deadline: float) -> None:
        """Wait until this peer is as far as the host is now, or for the deadline.

        A version above that is not of this history. One below it was reached by another peer first.
        """
        refuse_waiting("events.stream() with a version that this peer has not reached")
        call = Call(deadline=deadline, kind=PresenceKind.name)
        with suppress(
            WriteTimeoutError, QueueFullError
        ):  # then the version is taken for a foreign one
            participant.writer.patch({}, call, max(deadline - monotonic(), 0))  # changes nothing

    def _router(self) -> EventRouter:
        return router_of(self._mem._dispatcher)


def router_of(dispatcher: Dispatcher) -> EventRouter:
    """The router of a handle, made at its first use."""
    if dispatcher.event_router is None:
        with _lock:
            router = EventRouter(dispatcher)
            if dispatcher.event_router is None:  # a signal handler may have made one meanwhile
                router.listen()
    found: EventRouter = dispatcher.event_router
    return found
