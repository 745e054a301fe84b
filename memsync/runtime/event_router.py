"""The handlers and streams of events of one handle, and which event each of them gets.

The thread that plays the peer's role calls `arrived` for each event, in the order of the log. It
finds out who gets the event, and queues one call for all handlers at the dispatcher, so events keep
their order with ``received_patches``. A handler that is cancelled meanwhile is not called.

What waits is bounded. When handlers or a stream are too slow, events are dropped until all that
waits has been taken; then comes one gap with their exact number.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from ..document import encoded
from ..replication.kinds.event import check_event_pattern
from .announcer import Event, Gap
from .callbacks import check_result
from .detached import own
from .dispatcher import Dispatcher, Subscription
from .logs import Logger
from .native import RLock

log = Logger("memsync.events")

WAITING_MAX = 10_000  # events that wait for the handlers of a handle, or for a stream
WAITING_BYTES = 1 << 26  # of their encoded arguments
_MAX_NAMES = 1000  # whose handlers are remembered


class Waiting(NamedTuple):
    """What waits in an `EventQueue`, and the handlers that are to get it."""

    item: Event | Gap
    handlers: tuple[Handler, ...]
    serial: int
    size: int  # bytes


class EventQueue:
    """Bounded: after an overflow all is dropped and counted until the queue has been emptied.

    The thread that plays the peer's role puts, and another one takes.
    """

    def __init__(self) -> None:
        self._lock = RLock()  # a signal handler may emit while its thread takes
        self._waiting: deque[Waiting] = deque()
        self._bytes = 0
        self._serial = 0  # of what was put last
        self._dropped = 0

    def put(self, event: Event, handlers: tuple[Handler, ...] = ()) -> int:
        """Add an event; returns its serial number, or 0 if it only makes a gap larger."""
        size = len(encoded(event.args))
        with self._lock:
            is_full = len(self._waiting) >= WAITING_MAX or self._bytes + size > WAITING_BYTES
            if self._dropped or (is_full and self._waiting):
                self._dropped += 1
                if self._dropped > 1:
                    return 0
                self._serial += 1
            else:
                self._add(event, handlers, size)
            return self._serial

    def put_gap(self, count: int) -> int:
        """Add a gap; returns its serial number, or 0 if it only makes another one larger."""
        with self._lock:
            if self._dropped:
                self._dropped += count
                return 0
            self._add(Gap(count), (), 0)
            return self._serial

    def _add(self, item: Event | Gap, handlers: tuple[Handler, ...], size: int) -> None:
        self._serial += 1
        self._waiting.append(Waiting(item, handlers, self._serial, size))
        self._bytes += size

    def take(self, serial: int | None = None) -> Waiting | None:
        """The next one up to a serial number, or the gap behind the last one; None without any.

        Gaps without an event between them are one.
        """
        with self._lock:
            first = self._waiting[0] if self._waiting else None
            if first and serial is not None and first.serial > serial:
                return None
            if first and isinstance(first.item, Event):
                self._bytes -= first.size
                return self._waiting.popleft()
            count = self._take_gaps()
        return Waiting(Gap(count), (), 0, 0) if count else None

    def _take_gaps(self) -> int:
        """The number of events that are missing before the next one; the lock is held."""
        count = 0
        while self._waiting:
            item = self._waiting[0].item
            if isinstance(item, Event):
                return count
            self._waiting.popleft()
            count += item.count or 0
        dropped, self._dropped = self._dropped, 0
        return count + dropped


class Stream(Protocol):
    """What one iterator over events gets; see `event_stream`. No method blocks."""

    def arrived(self, event: Event) -> None:
        """An event comes next."""

    def missed(self, count: int) -> None:
        """Events have not reached this peer."""

    def end(self) -> None:
        """Nothing more arrives."""

    def after_fork(self) -> None:
        """In a forked child: it has ended, and what waits was the parent's."""


class Handler:
    """One registered callback."""

    __slots__ = ("callback", "is_active", "is_once", "matches", "name", "takes_name")

    def __init__(self, name: str, callback: Callable[..., Any], *, once: bool) -> None:
        parts = check_event_pattern(name)
        self.name = name
        self.callback = callback
        self.is_once = once
        self.is_active = True
        self.takes_name = "*" in name
        self.matches = matcher(parts)


def matcher(parts: list[str]) -> Callable[[str], bool]:
    """Whether a name matches a pattern: ``*`` is one part, ``**`` at the end one part or more."""
    if "*" not in parts and "**" not in parts:
        return ".".join(parts).__eq__
    is_open = parts[-1] == "**"
    fixed = parts[:-1] if is_open else parts

    def matches(name: str) -> bool:
        given = name.split(".")
        if len(given) <= len(fixed) if is_open else len(given) != len(fixed):
            return False
        return all(one in ("*", other) for one, other in zip(fixed, given, strict=False))

    return matches


class EventRouter:
    """See the module; one for each dispatcher."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        # Without a lock, which a signal handler could find taken: one step of C changes or copies
        # a dict, and `_by_event` is replaced after each change of `_handlers`.
        self._handlers: dict[Handler, None] = {}
        self._by_event: dict[str, tuple[Handler, ...]] = {}
        self._streams: dict[weakref.ref[Stream], None] = {}
        self._queue = EventQueue()

    def listen(self) -> None:
        """Get what the dispatcher announces."""
        self._dispatcher.event_router = self
        self._dispatcher.tap("event", self.arrived)
        self._dispatcher.tap("events missed", self.missed)
        self._dispatcher.tap("ended", lambda _: self.end_streams())

    def after_fork(self) -> None:
        """In a forked child: the handlers stay, streams and what waits are the parent's."""
        self._queue = EventQueue()
        for stream in self._living_streams():
            stream.after_fork()
        self._streams = {}

    def refuse_blocking(self, call: str) -> None:
        """Raise `UsageError` in a callback."""
        self._dispatcher.refuse_blocking(call, "register a handler with on() or once()")

    # -- the program (any thread) ----------------------------------------------------------------

    def on(self, name: str, callback: Callable[..., Any], *, once: bool) -> Subscription:
        """Have later events of a name, or pattern, call `callback`."""
        handler = Handler(name, callback, once=once)
        self._handlers[handler] = None
        self._by_event = {}
        return Subscription(lambda: self._remove(handler))

    def off(self, name: str, callback: Callable[..., Any] | None) -> None:
        """End the handlers that `on` got under this name, or those with this callback."""
        for handler in list(self._handlers):
            if handler.name == name and (callback is None or handler.callback == callback):
                self._remove(handler)

    def has_handlers(self) -> bool:
        """Whether a handler is registered."""
        return bool(self._handlers)

    def _remove(self, handler: Handler) -> None:
        handler.is_active = False
        self._handlers.pop(handler, None)
        self._by_event = {}
        self._dispatcher.cancelled()

    def add_stream(self, stream: Stream) -> None:
        """Have later events go to a stream as well, for as long as the program keeps it."""
        for each in list(self._streams):
            if each() is None:
                self._streams.pop(each, None)
        self._streams[weakref.ref(stream)] = None

    def remove_stream(self, stream: Stream) -> None:
        """Undo `add_stream`."""
        self._streams.pop(weakref.ref(stream), None)

    def end_streams(self) -> None:
        """The handle stops: nothing more arrives."""
        for stream in self._living_streams():
            stream.end()

    # -- events (the thread that plays the role) -------------------------------------------------

    def arrived(self, event: Event) -> None:
        """An event comes next in the order of the log."""
        if self._handlers:
            handlers = self._by_event.get(event.name)
            if handlers is None:
                handlers = self._find(event.name)
            if handlers and (serial := self._queue.put(event, handlers)):
                self._dispatcher.call_surely(self._deliver, serial)
        if self._streams:
            for stream in self._living_streams():
                stream.arrived(event)

    def missed(self, count: int) -> None:
        """Events have not reached this peer: it got a snapshot in their place."""
        if self._handlers and (serial := self._queue.put_gap(count)):
            self._dispatcher.call_surely(self._deliver, serial)
        for stream in self._living_streams():
            stream.missed(count)

    def _find(self, name: str) -> tuple[Handler, ...]:
        if len(self._by_event) >= _MAX_NAMES:
            self._by_event = {}
        known = self._by_event  # before the handlers are read: a later change replaces it
        found = known[name] = tuple(each for each in list(self._handlers) if each.matches(name))
        return found

    def _living_streams(self) -> Iterator[Stream]:
        for each in list(self._streams):
            stream = each()
            if stream is not None:
                yield stream

    # -- the dispatcher's thread -----------------------------------------------------------------

    def _deliver(self, serial: int) -> None:
        # Usually one; an interrupt may have kept back the call for an earlier one.
        while (waiting := self._queue.take(serial)) is not None:
            item = waiting.item
            if isinstance(item, Gap):
                log.warning(
                    "events missed, this peer or its handlers are too slow: events=%s", item.count
                )
                self._dispatcher.run("gap", item.count)
                continue
            for handler in waiting.handlers:
                self._call(handler, item)

    def _call(self, handler: Handler, event: Event) -> None:
        if not handler.is_active:
            return
        if handler.is_once:
            self._remove(handler)
        try:
            args = own(event.args)
            if handler.takes_name:
                args = (event.name, *args)
            check_result(handler.callback(*args))
        except BaseException:  # also SystemExit: the other handlers still run
            log.exception("event handler failed: %r", handler.callback)
