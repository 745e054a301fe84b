"""A hybrid logical clock: wall time that never stands still and never runs back.

A timestamp is one integer: milliseconds since 1970 in the upper bits, a counter in the lower
sixteen. Reading it gives a number above every number read or merged before, so a wall clock that is
set back cannot make a peer's later write look older than its earlier one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

COUNTER_BITS = 16
TOLERANCE_MS = 1000  # how far another clock may be ahead
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class HybridClock:
    """The clock's memory; the wall time is an argument, in milliseconds since 1970."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = 0

    def tick(self, wall_ms: int) -> int:
        """The next timestamp."""
        self.last = max(wall_ms << COUNTER_BITS, self.last + 1)
        return self.last

    def admit(self, timestamp: int, wall_ms: int) -> int:
        """A timestamp that another peer made, or the next own one if it is too far ahead.

        Ahead by more than a second, or no time at all: it would make later writes look old, so it
        is replaced by one that is newer than all before and not ahead.
        """
        latest = max(wall_ms + TOLERANCE_MS, self.last >> COUNTER_BITS) << COUNTER_BITS
        return timestamp if 0 <= timestamp <= latest else self.tick(wall_ms)

    def merge(self, timestamp: int) -> None:
        """Take note of a timestamp made elsewhere: all later own ones are above it."""
        if timestamp > self.last:
            self.last = timestamp


def wall_time(timestamp: int) -> datetime:
    """The wall time of a timestamp, in UTC."""
    return _EPOCH + timedelta(milliseconds=timestamp >> COUNTER_BITS)
