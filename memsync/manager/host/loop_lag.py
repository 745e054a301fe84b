"""Event-loop lag: how late a loop wakes because other threads of its process hold the GIL.

The loop asks to be awake at moments fixed in advance. Its delay at such a moment is how long a
message that arrived then would have waited.
"""

from __future__ import annotations

from collections import deque

from ..platform.platform import Platform
from ..timing import Timing


class OtherThreads:
    """Whether other threads of this process use the processor (the loop's thread only).

    Only then can the loop be late for long, and its lag is worth the wakes that measuring it costs.
    """

    def __init__(self, platform: Platform, timing: Timing) -> None:
        self._platform = platform
        self._timing = timing
        self._are_busy = False
        self._since = platform.monotonic()
        self._cpu = platform.other_threads_cpu()

    def are_busy(self, now: float) -> bool:
        """Whether they were since the last step (monotonic seconds).

        Once they are, they must rest for a whole measurement, because they may work by turns.
        """
        step = self._timing.lag_step * (self._timing.lag_moments if self._are_busy else 1)
        passed = now - self._since
        if passed >= step:
            before, cpu = self._cpu, self._platform.other_threads_cpu()
            limit = passed * self._timing.others_share
            self._are_busy = before is None or cpu is None or cpu - before > limit
            self._since, self._cpu = now, cpu
        return self._are_busy


class LoopLag:
    """The lag of one loop (its thread only)."""

    def __init__(self, platform: Platform, timing: Timing) -> None:
        self.due = float("inf")  # the next moment (monotonic seconds)
        self._platform = platform
        self._timing = timing
        self._was_late: deque[bool] = deque(maxlen=timing.lag_moments)
        self._waits: int | None = None  # of the thread, when the loop began to wait

    def watch(self, now: float) -> None:
        """Measure from now on."""
        if self.due == float("inf"):
            self.due = now + self._timing.lag_step

    def rest(self) -> None:
        """Stop measuring and discard the result."""
        self.due = float("inf")
        self._was_late.clear()

    def wait_begins(self) -> None:
        """The loop is about to wait; a moment that passed while it worked proves nothing."""
        if self.due == float("inf"):
            return
        now = self._platform.monotonic()
        if now >= self.due:
            self.due = now + self._timing.lag_step
        self._waits = self._platform.waits()

    def wait_ended(self) -> None:
        """The loop goes on: record the delay if the moment has passed."""
        if self.due == float("inf"):
            return
        now = self._platform.monotonic()
        if now < self.due:
            return
        # The wait itself is one. A thread that waited only for a processor has no second one.
        has_waited = self._waits is None or (self._platform.waits() or 0) > self._waits + 1
        self._was_late.append(has_waited and now - self.due > self._timing.late)
        self.due = now + self._timing.lag_step

    @property
    def is_busy(self) -> bool:
        """Whether other threads of this process delay the loop at many of the moments."""
        is_full = len(self._was_late) == self._timing.lag_moments
        return is_full and sum(self._was_late) >= self._timing.late_moments
