"""How much of its time a loop waits for the interpreter, when it has something to do.

The loop is to be awake at odd moments, fixed beforehand: a thread that looks whenever it was given
the interpreter finds it free. How late it is says what a message would have waited at that moment.
"""

from __future__ import annotations

import sys
from collections import deque
from itertools import cycle

from .machine import Machine

# Seconds between two moments; odd, so that they fall in step with no program.
_STEPS = (0.007, 0.017, 0.011, 0.013, 0.023, 0.009)
_WINDOW = 1.0  # seconds for which a moment counts
_LEAST = 0.25  # seconds that must have been watched
_BUSY = 0.05  # part of the time that a busy process waits, at least: one that burns a fifth of it,
_ENOUGH = 2  # at so many moments; one, as when garbage is collected, says nothing,
_RECENT = 0.15  # and again within so many seconds
_IDLE = 0.01  # part of the time that an idle one waits, at most


class Lag:
    """The lag of one loop (its thread only)."""

    def __init__(self, machine: Machine) -> None:
        self.due = float("inf")  # when the loop is to be awake next (monotonic seconds)
        self._machine = machine
        self._steps = cycle(_STEPS)
        self._moments: deque[tuple[float, float]] = deque()  # when, and how late
        self._since, self._waits = 0.0, 0  # when it began to wait, or to work, and its waits then

    def watch(self, now: float) -> None:
        """Go on measuring."""
        if self.due == float("inf"):
            self.due = now + next(self._steps)
            self._since, self._waits = now, self._machine.waits()

    def rest(self) -> None:
        """Stop, and forget what was."""
        self.due = float("inf")
        self._moments.clear()

    def wait_begins(self) -> None:
        """The loop has done its work, and is about to wait for what comes next."""
        self._look(self._waits)

    def wait_ended(self) -> None:
        """The loop goes on."""
        self._look(self._waits + 1)

    def _look(self, waits: int) -> None:
        """See how late it is, if a moment has passed since; `waits` it had for no interpreter."""
        if self.due == float("inf"):
            return
        now = self._machine.monotonic()
        if now >= self.due:
            if self.due >= self._since:
                self._moments.append((now, self._machine.lateness(self.due, waits)))
            while self._moments and self._moments[0][0] < now - _WINDOW:
                self._moments.popleft()
            self.due = now + next(self._steps)
        self._since, self._waits = now, self._machine.waits()

    def is_busy(self, now: float) -> bool:
        """Whether other threads of this process keep it from its work."""
        shortest = sys.getswitchinterval() / 2
        long = [when for when, late in self._moments if late > shortest]
        is_new = len(long) >= _ENOUGH and now - long[-1] <= _RECENT
        return is_new and self._knows_enough(now) and self._part(now) >= _BUSY

    def is_idle(self, now: float) -> bool:
        """Whether none does."""
        return self._knows_enough(now) and self._part(now) <= _IDLE

    def _knows_enough(self, now: float) -> bool:
        return bool(self._moments) and now - self._moments[0][0] >= _LEAST

    def _part(self, now: float) -> float:
        return sum(late for _, late in self._moments) / (now - self._moments[0][0])
