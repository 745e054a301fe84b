"""What the threads of a client ask its host: for a round trip, and to save."""

from __future__ import annotations

from collections.abc import Callable

from ...clocks import monotonic
from ...errors import MemSyncError, from_wire
from ...replication.codec import frame
from ...runtime.flushes import FlushWait
from ...runtime.wakeup import Wakeup
from ..transport.messages import Flush, Flushed, Ping
from .stream import SharedStream


class _RoundTrip:
    """A ping that a thread waits for."""

    def __init__(self) -> None:
        self._start = monotonic()
        self._end: float | None = None
        self._done = Wakeup()
        self._is_over = False

    def end(self, when: float | None) -> None:
        """The answer has come at a time, or (None) never will."""
        if not self._is_over:
            self._end, self._is_over = when, True
        self._done.set()

    def wait(self, timeout: float, *, is_over: bool) -> float:
        """The seconds it took; raises `TimeoutError` when there is no answer in time."""
        if is_over or not self._done.wait(timeout) or self._end is None:
            raise TimeoutError
        return self._end - self._start


class Questions:
    """The open questions of one link; `on_interrupt` is that of the link."""

    def __init__(self, stream: SharedStream, on_interrupt: Callable[[], None]) -> None:
        self._stream = stream
        self._on_interrupt = on_interrupt
        self._pings: dict[int, _RoundTrip] = {}
        self._flushes: dict[int, FlushWait] = {}

    def ping(self, timeout: float) -> float:
        """The seconds of a round trip; raises `TimeoutError` (any thread)."""
        trip = _RoundTrip()
        token = id(trip)
        try:
            self._pings[token] = trip
            self._stream.send([frame(Ping(token))])
            return trip.wait(timeout, is_over=self._stream.lost)
        except TimeoutError:
            raise
        except BaseException:  # for example KeyboardInterrupt
            self._on_interrupt()
            raise
        finally:
            self._pings.pop(token, None)

    def flush(self, timeout: float) -> None:
        """See `Role.flush` (any thread)."""
        wait = FlushWait()
        token = id(wait)
        try:
            self._flushes[token] = wait
            self._stream.send([frame(Flush(token))])
            wait.wait(0 if self._stream.lost else timeout)
        except (TimeoutError, MemSyncError):
            raise
        except BaseException:
            self._on_interrupt()
            raise
        finally:
            self._flushes.pop(token, None)

    def pong(self, token: int) -> None:
        """The answer to a ping (holder of the reader role)."""
        trip = self._pings.get(token)
        if trip is not None:
            trip.end(monotonic())

    def flushed(self, message: Flushed) -> None:
        """The answer to a flush (holder of the reader role)."""
        wait = self._flushes.get(message.token)
        if wait is not None:
            wait.end(None if message.error is None else from_wire(message.error))

    def end(self) -> None:
        """The link is closed: nothing is answered any more (driver)."""
        for trip in list(self._pings.values()):
            trip.end(None)
        for wait in list(self._flushes.values()):
            wait.lose()
