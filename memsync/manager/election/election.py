"""How a peer finds its role: it joins the host, or becomes host itself.

The highest lock file in the folder decides. If it is held, its holder is the host or a candidate,
and the peer joins it. If it is free or missing, its number is used up. The peer that links the next
lock is the candidate; the others find that lock held and join the candidate. A joiner publishes its
peer file first and then reads the highest lock. A candidate takes its lock first and then lists the
peers. So at least one of the two sees the other.
"""

from __future__ import annotations

from ...errors import (
    AuthenticationFailedError,
    HostUnresponsiveError,
    MemSyncError,
    RendezvousError,
)
from ...replication.codec import frame
from ...replication.membership import Members
from ...runtime.logs import Logger
from ..client.link import Link
from ..context import PeerContext
from ..folder.paths import lock_in
from ..folder.records import EpochRecord
from ..platform.task import Dial, Pause, Task
from ..role import Role
from ..states import PeerEvent
from ..transport.channel import Channel, ChannelLost
from ..transport.messages import Grant
from .candidate import Candidate

log = Logger("memsync.election")


class Election:
    """The search of one peer for its next role (driver only)."""

    def __init__(self, ctx: PeerContext) -> None:
        self._granted: Grant | None = None
        self._ctx = ctx
        self._participant = ctx.participant
        self._campaign_from: float | None = None  # monotonic seconds; see `_may_campaign`

    def keep_grant(self, grant: Grant | None) -> None:
        """Keep the grant of the next epoch, or None, by the host that this peer followed."""
        self._granted = grant

    def find_role(self, deadline: float) -> Task[Role]:
        """Become client or host.

        Raises `HostUnresponsiveError` after `deadline` (monotonic seconds), and the errors of the
        folder, the protocol and the group's limits.
        """
        ctx = self._ctx
        pause = ctx.timing.first_check
        self._campaign_from = None
        is_fair = deadline - ctx.platform.monotonic() >= ctx.timing.fair_search
        while True:
            ctx.check_stop()
            ctx.repair()
            record = ctx.place.folder.latest_epoch()
            role = yield from self._try_role(record, deadline)
            if role is not None:
                return role
            if ctx.platform.monotonic() > deadline:
                raise self._timeout_error(is_fair)
            if pause == ctx.timing.longest_check:
                ctx.place.publish_blocked_reason(self._blocked_reason(record))
            yield Pause(ctx.waker, pause)
            pause = min(pause * 2, ctx.timing.longest_check)

    def _try_role(self, record: EpochRecord | None, deadline: float) -> Task[Role | None]:
        """Join the host, or campaign where there is none; None when neither is possible now."""
        ctx = self._ctx
        if record is None or not record.held:
            if ctx.options.client_only:
                return None
            return (yield from self._campaign_after(record))
        grant = self._take_grant(record)
        if grant is not None:
            return (yield from self._campaign(grant.epoch, grant))
        if ctx.host_hangs(record.epoch):
            if not self._may_depose():
                return None
            return (yield from self._campaign_after(record))
        if record.is_damaged:
            return None
        return (yield from self._join(record, deadline))

    def _campaign_after(self, record: EpochRecord | None) -> Task[Role | None]:
        """Campaign after an epoch that is over or whose host hangs, if this peer may."""
        ctx = self._ctx
        last = record.epoch if record is not None else 0
        # The peer files name epochs that were taken after the locks were read.
        peers = ctx.place.folder.living_peers()
        if ctx.place.folder.is_over(last) or not self._may_campaign(peers):
            return None
        if record is not None and record.held:
            event = "the host hangs %s host=%s host_pid=%s"
            log.warning(event, ctx, record.peer, record.pid)
        return (yield from self._campaign(self._next_epoch(last, peers), None))

    def _campaign(self, epoch: int, grant: Grant | None) -> Task[Role | None]:
        self._ctx.states.on(PeerEvent.MAY_HOST)
        return (yield from Candidate(self._ctx, epoch, grant).campaign())

    def _next_epoch(self, last: int, peers: Members) -> int:
        """The number after all that locks or peers know.

        If the locks are behind the peers, somebody deleted locks and witnesses, perhaps also those
        of later epochs that no peer here knows. A random gap keeps such a number from being reused.
        """
        own = self._participant.state.epoch
        known: int = max([own, *(peer.get("epoch", 0) for peer in peers.values())])
        if last < known:
            return known + 1 + int(self._ctx.platform.new_id()[:4], 16)
        return last + 1

    def _may_campaign(self, peers: Members) -> bool:
        """Whether this peer may campaign now: a dedicated host has precedence for a moment."""
        ctx = self._ctx
        if ctx.options.server_only or not any(peer.get("serverOnly") for peer in peers.values()):
            return True
        now = ctx.platform.monotonic()
        if self._campaign_from is None:
            self._campaign_from = now + ctx.timing.precedence
        return now >= self._campaign_from

    def _take_grant(self, record: EpochRecord) -> Grant | None:
        """The grant for the next epoch, if this host gave it and this peer has its whole state."""
        grant, self._granted = self._granted, None
        if grant is None or grant.epoch != record.epoch + 1:
            return None
        if self._participant.state.host != record.peer:
            return None  # another cluster may use the same number
        has_all = self._participant.replica.pair == (record.epoch, grant.version)
        return grant if has_all else None

    def _may_depose(self) -> bool:
        """Whether this peer may replace a host that hangs.

        It must have been in the host's epoch. Otherwise this peer may be the one that was frozen,
        and its state may be old.
        """
        epoch, _ = self._participant.replica.pair
        last_opened = self._ctx.place.folder.last_opened()
        return not self._ctx.options.client_only and 0 < epoch >= last_opened

    def _join(self, record: EpochRecord, deadline: float) -> Task[Role | None]:
        """Attach to the lock's holder; None when that broke off and may be tried again."""
        ctx = self._ctx
        ctx.states.on(PeerEvent.HOST_FOUND)
        ctx.place.state_epoch(max(record.epoch, self._participant.state.epoch, 1))
        left = max(deadline - ctx.platform.monotonic(), ctx.timing.last_dial)
        timeout = min(self._dial_timeout(), left)
        authkey = ctx.place.authkey
        link = None
        try:
            channel = yield Dial(record.address, authkey, frame(ctx.hello()), timeout)
            link = self._link(record, channel)
            yield from link.join(deadline)
            ctx.states.on(PeerEvent.CAUGHT_UP)
            return link
        except (ChannelLost, AuthenticationFailedError) as error:
            log.debug("cannot join epoch %s: %s", record.epoch, error)
            if link is not None:
                yield from link.release()
                self.keep_grant(link.granted)
            if isinstance(error, AuthenticationFailedError) and ctx.place.key() == authkey:
                raise  # otherwise the key has just been replaced
            ctx.states.on(PeerEvent.BROKE_OFF)
            return None
        except BaseException:
            if link is not None:
                yield from link.release()
            raise

    def _link(self, record: EpochRecord, channel: Channel) -> Link:
        try:
            return Link(self._ctx, record, channel)
        except BaseException:
            channel.close()
            raise

    def _dial_timeout(self) -> float:
        """Seconds for one attempt: a survivor must not miss a recovery because a host hangs."""
        ctx = self._ctx
        if not self._participant.state.epoch:
            return ctx.timing.dial
        timeout = min(ctx.timing.dial, ctx.options.network.recovery / 2)
        return min(timeout, ctx.lease.rhythm) if self._may_depose() else timeout

    # -- errors and reasons ----------------------------------------------------------------------

    def _blocked_reason(self, record: EpochRecord | None) -> str:
        """Why a running peer has no host for longer than an election takes."""
        if record is not None and record.held:
            return (
                f"the host (process {record.pid}, peer {record.peer}) does not answer: continue or "
                "end that process, unless another peer replaces it"
            )
        if self._ctx.options.client_only:
            return "there is no host, and this peer is clientOnly: start a peer that may host"
        return "an election is under way"

    def _timeout_error(self, is_fair: bool) -> MemSyncError:
        folder, name = self._ctx.place.folder, self._participant.name
        record = folder.latest_epoch()
        if record is not None and record.is_damaged:
            return RendezvousError(
                f"the lock file {lock_in(folder.path, record.epoch)} is damaged, and a living "
                "process holds it: that process repairs it within its network.poll, unless it is "
                "frozen: continue or end it, then start again"
            )
        if record is not None and record.held:
            host = f"the host of {name!r} (process {record.pid}, peer {record.peer})"
            advice = "does not answer; continue or end that process, then start again"
            if not is_fair:
                advice = "had not the time to answer: start again with a longer timeout"
            return HostUnresponsiveError(f"{host} {advice}", pid=record.pid)
        return HostUnresponsiveError(
            f"no host of {name!r} came up in time, and this peer is clientOnly: start a peer that "
            "may host, or raise the timeout",
            pid=None,
        )
