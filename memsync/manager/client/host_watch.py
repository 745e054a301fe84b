"""Whether the host that a client follows still hosts: its lock, its lease, its answers."""

from __future__ import annotations

from ...errors import RendezvousError
from ...replication.codec import frame
from ..context import PeerContext
from ..folder.records import EpochRecord
from ..transport.messages import Ping
from .stream import SharedStream

LIFE = 0  # token of the ping that asks a silent host whether it lives


class HostWatch:
    """What a client finds out about the host of one epoch; it ends the stream of a lost one."""

    def __init__(self, ctx: PeerContext, record: EpochRecord, stream: SharedStream) -> None:
        self._ctx = ctx
        self._reign = record
        self._stream = stream
        self._platform = ctx.platform
        self._asked: float | None = None  # when the silent host was asked whether it lives
        self._answers = False
        self._looked_at = ctx.platform.monotonic()  # into the folder

    @property
    def rhythm(self) -> float:
        """Seconds between two checks of the folder."""
        return min(self._ctx.options.network.poll, self._ctx.lease.rhythm)

    def begin(self, now: float) -> None:
        """The peer follows from now on (monotonic seconds)."""
        self._looked_at = now

    def look(self, now: float) -> None:
        """Check whether the host still epochs and lives (driver; monotonic seconds)."""
        self._looked_at = now
        if not self._ctx.still_hosts(self._reign):
            self._stream.lose("the host's lock is free, or a newer one exists")
        elif self._is_silent(now):
            self._stream.lose("the host hangs")
        else:
            self._ctx.place.repair_or_log(self._ctx.repair)

    def answered(self, token: int) -> None:
        """The host has answered a ping."""
        self._answers = self._answers or token == LIFE

    def was_away(self) -> bool:
        """Whether this peer may have been frozen, and the group has gone on without it.

        What is left on the link then is made known only when the next host shows that it counts.
        """
        now = self._platform.monotonic()
        if now - self._looked_at <= self._ctx.options.network.recovery / 2:
            return False
        self._looked_at = now
        if self._ctx.still_hosts(self._reign, if_missing=False):
            return False
        self._stream.lose("the host's lock is free, or a newer one exists")
        return True

    def still_hosts(self) -> bool:
        """Whether the link broke although the host still epochs and nobody here was interrupted."""
        if self._stream.interrupted:
            return False
        try:
            return self._ctx.still_hosts(self._reign)
        except RendezvousError:  # logged by the search for the next role
            return True

    def _is_silent(self, now: float) -> bool:
        """Whether the lease has run out, and the host does not answer either."""
        if not self._ctx.host_hangs(self._reign.epoch):
            self._asked = None
            return False
        if self._asked is None or self._answers:
            self._asked, self._answers = now, False
            self._stream.send([frame(Ping(LIFE))])
            return False
        return now - self._asked >= self._ctx.lease.rhythm
