"""Adaptive spinning: a wait polls for a moment before it blocks.

A blocked process needs 20 to 40 microseconds to wake, which is most of a round trip between two
processes. A waiting writer and its host therefore poll for up to ``network.spin`` microseconds. A
process that does not fall asleep also costs less CPU, because its caches stay warm.

Polling is in vain where the answer takes longer: the writer thinks, or more processes run than
there are processors. Then the next waits block at once for a while: for a millisecond after the
first vain poll, and for twice as long each time, until polls succeed again. Where the system gives
the processor to another process during a poll, this one is to sleep instead, and the first pause is
longer. On a single processor nothing polls.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from ...clocks import monotonic
from ..timing import TIMING

T = TypeVar("T")


def processors() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Spin:
    """Decides how the waits of one thread at a time begin; `limit` is in seconds, 0 is off."""

    def __init__(self, limit: float) -> None:
        self._limit = limit if processors() > 1 else 0.0
        self._pause = TIMING.spin_first_pause
        self._resume_at = 0.0  # monotonic seconds; until then waits block at once

    def wait(self, ready: Callable[[float], T], timeout: float) -> T:
        """Call ``ready(seconds)``, which waits and returns what it found, until it is true.

        Returns what `ready` found, which is not true after `timeout` seconds.
        """
        start = now = monotonic()
        if timeout <= 0 or not self._limit or now < self._resume_at:
            return ready(timeout)
        while now - start < self._limit:
            found = ready(0)
            if found:
                self._pause = max(self._pause / 2, TIMING.spin_first_pause)
                return found
            last, now = now, monotonic()
            if now - last > TIMING.spin_preempted:
                self._pause = max(self._pause, TIMING.spin_preempted_pause)
                break
            if now - start >= timeout:
                return found  # it had no time to be in vain
        self._resume_at = now + self._pause
        self._pause = min(2 * self._pause, TIMING.spin_longest_pause)
        return ready(max(timeout - (now - start), 0))


NO_SPIN = Spin(0)
"""Blocks at once."""
