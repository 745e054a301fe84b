"""One thread that does small things later: deadlines, and what a finalizer must not do itself.

A finalizer runs at any instruction of any thread, perhaps while that thread holds a lock. So it
only appends to a list here.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable

from ..clocks import monotonic
from ..errors import QueueFullError
from ..runtime.logs import Logger
from ..runtime.native import Lock
from ..runtime.own_threads import OwnThread
from ..runtime.wakeup import Wakeup

log = Logger("memsync.rpc")


class Timer:
    """One action at one time."""

    __slots__ = ("action",)

    def __init__(self, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Drop the action, and what it holds."""
        self.action = None


class Timers:
    """The thread starts at first need and ends with `close`.

    Actions are memsync's own. They may send on a link, and run no code of the program.
    """

    def __init__(self) -> None:
        self._lock = Lock()  # protects the start and the end of the thread
        self._wake = Wakeup()
        self._new: deque[tuple[float, Timer]] = deque()
        self._thread: OwnThread | None = None
        self._is_closed = False

    def start(self) -> None:
        """Start the thread if it does not run; raises `QueueFullError` where there is none left."""
        if self._thread is not None:
            if self._new:  # an interrupted call of `soon` has not woken it
                self._wake.set()
            return
        with self._lock:
            if self._thread is None and not self._is_closed:
                thread = OwnThread(self._run, "memsync-rpc-timer")
                try:
                    thread.start()
                except RuntimeError as error:
                    raise QueueFullError(
                        f"the system has no thread left for the deadlines of calls ({error}): end "
                        "what is not needed, or raise the limit on threads (ulimit -u)"
                    ) from error
                self._thread = thread

    def at(self, deadline: float, action: Callable[[], None]) -> Timer:
        """Run `action` at a time of `monotonic`."""
        self.start()
        timer = Timer(action)
        self._new.append((deadline, timer))
        self._wake.set()
        return timer

    def soon(self, action: Callable[[], None]) -> None:
        """Run `action`; a finalizer may call this. It does not start the thread."""
        self._new.append((0.0, Timer(action)))
        self._wake.set()

    def close(self, seconds: float) -> None:
        """End the thread, and wait for its end; what is not due yet is dropped."""
        with self._lock:
            self._is_closed = True
            thread, self._thread = self._thread, None
        self._wake.set()
        if thread is not None:
            thread.join(seconds)

    def _run(self) -> None:
        order = itertools.count()  # timers cannot be compared
        heap: list[tuple[float, int, Timer]] = []
        while not self._is_closed:
            while self._new:
                deadline, timer = self._new.popleft()
                heapq.heappush(heap, (deadline, next(order), timer))
            while heap and (heap[0][0] <= monotonic() or heap[0][2].action is None):
                self._perform(heapq.heappop(heap)[2])
            if len(heap) > 1000:  # most timers are cancelled long before their time
                heap = [each for each in heap if each[2].action is not None]
                heapq.heapify(heap)
            self._wake.wait(heap[0][0] - monotonic() if heap else None)

    def _perform(self, timer: Timer) -> None:
        action, timer.action = timer.action, None
        if action is None:
            return
        try:
            action()
        except Exception:  # the other timers still run
            log.exception("a timer of remote calls failed: %r", action)
