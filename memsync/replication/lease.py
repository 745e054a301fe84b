"""The lease: how long a host may be silent until the other peers may replace it.

A host renews the heartbeat in its lock several times per lease. Clocks of different processes are
never compared: an observer measures on its own monotonic clock for how long it has seen the same
heartbeat. An observer that was suspended itself starts over, because it may have missed heartbeats.
"""

from __future__ import annotations

HEARTBEATS = 4  # per lease; an observer that misses one checks as often
CHECKS = 3  # per lease, of an observer that misses none


class Lease:
    """One observer's knowledge of the host; `seconds` is the length of a lease."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._seen: tuple[int, int] | None = None
        self._since = 0.0
        self._observed_at = 0.0

    @property
    def rhythm(self) -> float:
        """Seconds between two heartbeats, and between two checks when one is missing."""
        return self.seconds / HEARTBEATS

    @property
    def calm_rhythm(self) -> float:
        """Seconds between two checks of heartbeats that come."""
        return self.seconds / CHECKS

    def observe(self, epoch: int, heartbeat: int, now: float) -> bool:
        """Note a heartbeat (any number that changes); returns whether the lease has expired.

        >>> lease = Lease(3.0)
        >>> [lease.observe(1, 17, now) for now in (0.0, 1.0, 2.0, 3.0)]
        [False, False, False, True]
        >>> lease.observe(1, 18, 4.0)  # a heartbeat
        False
        >>> lease.observe(1, 18, 60.0)  # this observer was not running
        False
        """
        has_slept = now - self._observed_at > self.seconds / 2
        if has_slept or self._seen != (epoch, heartbeat):
            self._since = now
        self._seen, self._observed_at = (epoch, heartbeat), now
        return self.silence(now) >= self.seconds

    def silence(self, now: float) -> float:
        """Seconds since the last heartbeat that differed from the one before."""
        return now - self._since
