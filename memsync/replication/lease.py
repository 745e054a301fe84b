"""How long a host may be silent before it counts as one that hangs.

A host that lives renews its lock's heartbeat several times in a lease. Clocks of different
processes are never compared: an observer measures on its own clock, which never runs back, for how
long it has seen the same heartbeat. An observer that was itself not running for a while starts
anew, for it could not have seen the heartbeats in between.
"""

from __future__ import annotations

HEARTBEATS = 4  # heartbeats, and looks at them, in the time of a lease


class Lease:
    """What one observer has seen of the reigning host; `seconds` is how long a lease is."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._seen: tuple[int, int] | None = None
        self._since = 0.0
        self._looked = 0.0

    @property
    def rhythm(self) -> float:
        """Seconds between two heartbeats, and between two looks at them."""
        return self.seconds / HEARTBEATS

    def look(self, epoch: int, heartbeat: int, now: float) -> bool:
        """Take note of a heartbeat (any number that changes); True when the lease has run out.

        >>> lease = Lease(3.0)
        >>> [lease.look(1, 17, now) for now in (0.0, 1.0, 2.0, 3.0)]
        [False, False, False, True]
        >>> lease.look(1, 18, 4.0)  # a heartbeat
        False
        >>> lease.look(1, 18, 60.0)  # this observer was not running
        False
        """
        has_slept = now - self._looked > self.seconds / 2
        if has_slept or self._seen != (epoch, heartbeat):
            self._since = now
        self._seen, self._looked = (epoch, heartbeat), now
        return now - self._since >= self.seconds
