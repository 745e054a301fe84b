"""A hybrid logical clock: wall time that never repeats and never runs backwards.

A timestamp is one integer: milliseconds since 1970 in the upper bits, a counter in the lower
sixteen. Each tick exceeds every timestamp ticked or merged before, so setting the wall clock back
cannot make a peer's later write older than its earlier one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

COUNTER_BITS = 16
TOLERANCE_MS = 1000  # how far another clock may be ahead
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class HybridClock:
    """The last timestamp; callers pass the wall time in milliseconds since 1970."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = 0

    def tick(self, wall_ms: int) -> int:
        """The next timestamp."""
        self.last = max(wall_ms << COUNTER_BITS, self.last + 1)
        return self.last

    def admit(self, timestamp: int, wall_ms: int) -> int:
        """A timestamp that another peer made, or the next own one in its place if it is invalid.

        A negative timestamp is invalid, and one that is ahead by more than a second, which would
        make later writes of all peers older than this one.
        """
        latest = max(wall_ms + TOLERANCE_MS, self.last >> COUNTER_BITS) << COUNTER_BITS
        return timestamp if 0 <= timestamp <= latest else self.tick(wall_ms)

    def merge(self, timestamp: int) -> None:
        """Make all later ticks exceed a timestamp of another peer."""
        if timestamp > self.last:
            self.last = timestamp


def wall_time(timestamp: int) -> datetime:
    """The wall time of a timestamp, in UTC."""
    return _EPOCH + timedelta(milliseconds=timestamp >> COUNTER_BITS)
