"""The dispatcher: one thread that runs the user's callbacks, in the order of the events.

I/O threads only append to a bounded queue. When slow callbacks let it overflow, calls are dropped
and counted, and the event ``gap`` reports their number once there is room again. A callback of the
thread itself may put off a call until a later time (`call_at`).

Signal handlers and finalizers may register, cancel and queue callbacks at any moment, also in the
middle of such a call of their thread. So registering takes no lock, and queueing under the guard of
a participant neither: a handler that waits for the guard cannot hold what its owner waits for.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

from ..clocks import monotonic
from ..errors import UsageError
from .callbacks import check_result
from .logs import Logger
from .native import LIBRARY, RLock
from .wakeup import Wakeup

if TYPE_CHECKING:
    from .participant import Participant

log = Logger("memsync.dispatcher")

EVENTS = ("connected", "disconnected", "received_patches", "host_changed", "rolled_back", "gap")
QUEUE_MAX = 10_000  # calls waiting for the dispatcher
QUEUE_MAX_BYTES = 1 << 24
"""Of the entries whose patches wait; decoded, they take ten to twenty times that."""


class Subscription:
    """A registered callback; `cancel` ends it, and so does leaving its ``with`` block."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel

    def cancel(self) -> None:
        """Stop the calls; may be called more than once."""
        self._cancel()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *exc: object) -> None:
        self.cancel()


class Dispatcher:
    """The thread and its queue; the thread starts with the first call and ends with `stop`."""

    def __init__(self) -> None:
        self._lock = RLock()  # of the sums; no call of the program and no other lock in its blocks
        self._wake = Wakeup()
        # Each call has the bytes of all calls up to its end, so one append changes call and sum.
        self._queue: deque[tuple[Callable[..., Any], tuple[Any, ...], int]] = deque()
        self._end = 0  # bytes of all calls that were ever queued
        self._passed = 0  # bytes of all calls that have left the queue
        self._later: list[tuple[float, int, Callable[[], Any]]] = []  # a heap, of the thread alone
        self._numbers = count()
        # By name, then by a key of its own: a dict is changed and copied in one step of C.
        self._callbacks: dict[str, dict[object, Callable[..., Any]]] = {}
        self._taps: dict[str, Callable[..., None]] = {}
        self.event_router: Any = None  # of the handle's events, once they are used
        self._running: dict[str, threading.Thread] = {}  # "it": the thread that makes the calls
        self._started: threading.Thread | None = None  # the last one; it may not run yet
        self._stopping = False
        self._dropped = 0
        self._has_failed = False  # a run of failed starts is logged once
        self.on_last_cancel: Callable[[], None] = lambda: None  # after it there is no callback
        self.on_join: Callable[[Participant], None] = lambda participant: None  # the peer, started

    def after_fork(self) -> None:
        """In a forked child: the callbacks stay, the thread and the calls are the parent's."""
        self._lock = RLock()
        self._wake = Wakeup()
        self._queue.clear()
        self._later.clear()
        self._running, self._started = {}, None
        self._dropped = 0
        if self.event_router is not None:
            self.event_router.after_fork()

    def on(self, name: str, callback: Callable[..., Any]) -> Subscription:
        """Call `callback` with the arguments of each later `announce` of this name."""
        key = object()
        self._callbacks.setdefault(name, {})[key] = callback
        return Subscription(lambda: self._remove(name, key))

    def tap(self, name: str, function: Callable[..., None]) -> None:
        """Call `function` at once, on the thread that announces this name; it must not block."""
        self._taps[name] = function

    def cancelled(self) -> None:
        """A callback was cancelled, perhaps the last one."""
        if not self.has_callbacks():
            self.on_last_cancel()

    def has_callbacks(self) -> bool:
        """Whether a callback is registered, a handler of events included."""
        router = self.event_router
        has_handlers = router is not None and router.has_handlers()
        return has_handlers or any(list(self._callbacks.values()))

    def run(self, name: str, *args: Any) -> None:
        """Call all callbacks of a name now, on the dispatcher's thread."""
        for callback in self._callbacks_of(name):
            _call(callback, args)

    def _callbacks_of(self, name: str) -> list[Callable[..., Any]]:
        return list(self._callbacks.get(name, {}).values())

    def listens_to(self, name: str) -> bool:
        """Whether a callback of this name, or a tap, is registered."""
        return name in self._taps or bool(self._callbacks.get(name))

    def announce(self, name: str, *args: Any, size: int = 0) -> None:
        """Queue a call of all callbacks of a name; never blocks.

        `size` is the bytes on the wire of what the arguments hold.
        """
        tap = self._taps.get(name)
        if tap is not None:
            tap(*args)
        for callback in self._callbacks_of(name):
            self.call(callback, *args, size=size)

    def call(self, callback: Callable[..., Any], *args: Any, size: int = 0) -> None:
        """Queue one call; never blocks."""
        with self._lock:
            waiting = self._end - self._passed if self._queue else 0
            is_over = size and waiting and waiting + size > QUEUE_MAX_BYTES
            if len(self._queue) >= QUEUE_MAX or is_over:
                self._dropped += 1
                return
            self._queue.append((callback, args, self._end + size))
            self._end += size
        self._start_if_needed()
        self._wake.set()

    def call_surely(self, callback: Callable[..., Any], *args: Any) -> None:
        """Queue one call that is never dropped; the program itself bounds their number.

        Takes no lock, so whoever holds the guard of a participant may call it.
        """
        self._queue.append((callback, args, self._end))
        self._start_if_needed()
        self._wake.set()

    def call_at(self, when: float, callback: Callable[[], Any]) -> None:
        """Put off a call until `when` (monotonic seconds), or until `stop`.

        Only callbacks, which run on the thread itself, may call this.
        """
        heappush(self._later, (when, next(self._numbers), callback))

    @property
    def is_stopping(self) -> bool:
        """Whether no call may be put off any more."""
        return self._stopping

    def open(self) -> None:
        """Undo `stop`: the thread waits for calls when the queue is empty."""
        self._stopping = False
        if LIBRARY:  # its greenlet belongs to the hub of the program, and starts at once
            self._start()

    def is_current(self) -> bool:
        """Whether the calling thread is the dispatcher's own."""
        return threading.current_thread() is self._running.get("it")

    def refuse_blocking(self, call: str, instead: str) -> None:
        """Raise `UsageError` on the dispatcher's own thread, where `call` would block callbacks."""
        if self.is_current():
            raise UsageError(
                f"{call} inside a callback would block the callbacks after it: start a thread for "
                f"it, or {instead}"
            )

    def stop(self, timeout: float) -> None:
        """Run the queued calls and end the thread; waits, except on the thread itself."""
        self._start_if_needed()
        self._stopping = True
        self._wake.set()
        thread = self._running.get("it") or self._started
        if timeout and thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _start_if_needed(self) -> None:
        """Start the thread if calls wait.

        A call comes from a thread that must go on, so where the system has no thread left the calls
        wait for the next attempt.
        """
        if self._queue and not LIBRARY:
            self._start()

    def _start(self) -> None:
        if self._running:
            return
        thread = threading.Thread(target=self._run, name="memsync-dispatch", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if not self._has_failed:
                log.error(
                    "callbacks wait, their thread cannot be started (%s): end what is not needed, "
                    "or raise the limit on threads (ulimit -u)",
                    error,
                )
            self._has_failed = True
            return
        self._has_failed = False
        self._started = thread

    def _is_current_run(self) -> bool:
        """Whether the calling thread is the one; two calls at once may each begin one."""
        thread = threading.current_thread()
        return self._running.setdefault("it", thread) is thread

    def _remove(self, name: str, key: object) -> None:
        if self._callbacks[name].pop(key, None) is not None:
            self.cancelled()

    def _queue_late(self) -> float | None:
        """Queue the calls whose time has come; returns the seconds until the next one."""
        now, later = monotonic(), self._later
        while later and (self._stopping or later[0][0] <= now):
            self._queue.append((later[0][2], (), self._end))
            heappop(later)
        return later[0][0] - now if later else None

    def _run(self) -> None:
        if not self._is_current_run():
            return
        while True:
            wait = self._queue_late() if self._later else None
            if self._queue:
                callback, args, self._passed = self._queue.popleft()
                if self._dropped:
                    self._report_dropped()
                _call(callback, args)
            elif not self._stopping:
                self._wake.wait(wait)
            else:
                self._running.pop("it", None)
                # A call that has seen this thread run starts no other one.
                if not self._queue or not self._is_current_run():
                    return

    def _report_dropped(self) -> None:
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        log.warning("callbacks dropped, they are too slow: calls=%s", dropped)
        self.announce("gap", dropped)


def _call(callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        check_result(callback(*args))
    except BaseException:  # also SystemExit: the other callbacks still run
        log.exception("callback failed: %r", callback)
