"""The clocks of memsync, which are the system's and not the program's.

Tests stop or set the clock of a program (freezegun, time-machine), and a deadline on a stopped
clock never comes. Both replace functions of the module `time`, freezegun also where they were
imported, but neither replaces what `clock_gettime` returns for a clock that is never set.
"""

from __future__ import annotations

import functools
import time

# The clock of `time.monotonic`; on macOS it is not CLOCK_MONOTONIC, which runs during sleep.
_MONOTONIC: int = getattr(time, "CLOCK_UPTIME_RAW", time.CLOCK_MONOTONIC)

monotonic = functools.partial(time.clock_gettime, _MONOTONIC)
"""Seconds on a clock that is never set."""

wall = functools.partial(time.clock_gettime, time.CLOCK_REALTIME)
"""Seconds since 1970; freezegun cannot stop it, but time-machine and the administrator set it."""


def wall_ms() -> int:
    """Milliseconds since 1970, on the same clock as `wall`."""
    return time.clock_gettime_ns(time.CLOCK_REALTIME) // 1_000_000
