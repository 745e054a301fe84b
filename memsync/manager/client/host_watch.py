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
    """A client's checks of the host of one epoch; they end the stream when the host is lost."""

    def __init__(self, ctx: PeerContext, record: EpochRecord, stream: SharedStream) -> None:
        self._ctx = ctx
        self._record = record
        self._stream = stream
        self._heartbeat = 0  # the last one that was seen
        self._is_calm = True  # the last check has seen a new one
        self._asked: float | None = None  # when the silent host was asked (monotonic seconds)
        self._answers = False
        self._checked_at = ctx.platform.monotonic()
        self._stamps = ctx.stamps()
        self._blink = ctx.options.network.recovery / 2  # seconds; a longer pause may cost the host

    @property
    def rhythm(self) -> float:
        """Seconds between two checks of the folder."""
        lease = self._ctx.lease
        rhythm = lease.calm_rhythm if self._is_calm else lease.rhythm
        return min(self._ctx.options.network.poll, rhythm)

    def begin(self, now: float) -> None:
        """The peer follows from now on (monotonic seconds)."""
        self._checked_at = now

    def check(self, now: float) -> None:
        """Check whether the host still hosts and lives (driver; monotonic seconds)."""
        self._checked_at = now
        ctx, record = self._ctx, self._record
        is_in_order = self._stamps.are_in_order(now)
        # The lock is the one that it was, and the last one; but its holder may have died.
        heartbeat = self._living_heartbeat() if is_in_order else None
        if heartbeat is None and not ctx.still_hosts(record):
            self._stream.lose("the host's lock is free, or a newer one exists")
        elif self._is_silent(now, heartbeat):
            self._stream.lose("the host hangs")
        elif not is_in_order and ctx.place.repair_or_log(ctx.repair):
            self._stamps.found_in_order()

    def answered(self, token: int) -> None:
        """The host has answered a ping."""
        self._answers = self._answers or token == LIFE

    def was_away(self) -> bool:
        """Whether this peer was frozen and has lost its host meanwhile.

        If so, the rest of the stream is not read now: the drain takes it in, and it is shown only
        after the next host has confirmed it.
        """
        now = self._ctx.platform.monotonic()
        if now - self._checked_at <= self._blink:
            return False
        self._checked_at = now
        reason = "the host's lock is free, or a newer one exists"
        try:
            if self._ctx.still_hosts(self._record, if_missing=False):
                return False
        except (RendezvousError, OSError) as error:
            # On the thread of a write this must not reach the caller: the write is still pending.
            reason = str(error)
        self._stream.lose(reason)
        return True

    def _living_heartbeat(self) -> int | None:
        """The heartbeat of a host that has been alive since the last check, or holds its lock.

        None where that is not known. A new heartbeat says enough: a check later it is an old one.
        """
        folder, epoch, last = self._ctx.place.folder, self._record.epoch, self._heartbeat
        heartbeat = folder.heartbeat_in_place(epoch)
        return heartbeat if last and heartbeat not in (0, last) else folder.living_heartbeat(epoch)

    def _is_silent(self, now: float, heartbeat: int | None) -> bool:
        """Whether the lease has run out and the host does not answer a ping either."""
        if heartbeat is None:
            heartbeat = self._ctx.place.folder.last_heartbeat(self._record.epoch)
        self._is_calm, self._heartbeat = heartbeat != self._heartbeat, heartbeat
        if not self._ctx.is_silent(self._record.epoch, heartbeat):
            self._asked = None
            return False
        if self._asked is None or self._answers:
            self._asked, self._answers = now, False
            self._stream.send([frame(Ping(LIFE))])
            return False
        return now - self._asked >= self._ctx.lease.rhythm
