"""How late a loop wakes up because other threads of its process keep the interpreter.

The loop asks to be awake at moments fixed beforehand. The delay at such a moment is what a message
would have waited that arrived then.
"""

from __future__ import annotations

from collections import deque

from ..platform.platform import Platform
from ..timing import Timing


class LoopLag:
    """The lag of one loop (its thread only)."""

    def __init__(self, platform: Platform, timing: Timing) -> None:
        self.due = float("inf")  # the next moment (monotonic seconds)
        self._platform = platform
        self._timing = timing
        self._was_late: deque[bool] = deque(maxlen=timing.lag_moments)
        self._waits: int | None = None  # of the thread, when the loop began to wait

    def watch(self, now: float) -> None:
        """Go on measuring."""
        if self.due == float("inf"):
            self.due = now + self._timing.lag_step

    def rest(self) -> None:
        """Stop measuring and discard the result."""
        self.due = float("inf")
        self._was_late.clear()

    def wait_begins(self) -> None:
        """The loop is about to wait; a moment that passed while it worked says nothing."""
        if self.due == float("inf"):
            return
        now = self._platform.monotonic()
        if now >= self.due:
            self.due = now + self._timing.lag_step
        self._waits = self._platform.waits()

    def wait_ended(self) -> None:
        """The loop goes on: record the delay if the moment has passed."""
        now = self._platform.monotonic()
        if now < self.due:
            return
        # The wait itself counts as one; a thread that waited for a processor only has no more.
        has_waited = self._waits is None or (self._platform.waits() or 0) > self._waits + 1
        self._was_late.append(has_waited and now - self.due > self._timing.late)
        self.due = now + self._timing.lag_step

    @property
    def is_busy(self) -> bool:
        """Whether other threads of this process keep the loop from its work."""
        return (
            len(self._was_late) == self._timing.lag_moments
            and sum(self._was_late) * 3 > self._timing.lag_moments
        )
