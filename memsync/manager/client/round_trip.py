"""A ping that a thread waits for."""

from __future__ import annotations

import threading
import time


class RoundTrip:
    """One round trip to the host; on a bare lock, because a Condition cannot be interrupted."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._end: float | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def end(self, when: float | None) -> None:
        """The answer has come, or (None) never will."""
        if self._done.locked():
            self._end = when
            self._done.release()

    def wait(self, timeout: float, *, is_over: bool) -> float:
        """The seconds it took; raises `TimeoutError` when there is no answer in time."""
        if is_over or not self._done.acquire(timeout=timeout) or self._end is None:
            raise TimeoutError
        return self._end - self._start
