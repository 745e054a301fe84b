"""Admission: a peer that asks to be attached is checked, and catches up or is refused.

The peer is a survivor, a peer whose link broke, or a newcomer. Its `Hello` decides what it is sent.
Handshakes end on their own threads, and the driver's thread takes the peers from a queue.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress

from ...errors import MaxWritersError, MemSyncError, ProtocolError, to_wire
from ...replication.codec import frame
from ...replication.group_options import check_group_options
from ...replication.kinds.member import MemberKind, joining
from ...replication.membership import check_peer_id, let_in, standing_by, stands_by
from ...replication.state import TornCopyError
from ...runtime.logs import Logger
from ..context import PeerContext
from ..platform.waker import Waker
from ..transport.channel import Channel, ChannelLost
from ..transport.messages import PROTOCOL, Confirm, Hello, Refused, Welcome
from .claim import EpochClaim
from .fanout import ClientSession, FanOut
from .liveness import MemberLiveness
from .ordering import Ordering

log = Logger("memsync.host")


class JoiningPeers:
    """The queue of peers that ask to be attached; the handshake slots bound it."""

    def __init__(self, waker: Waker) -> None:
        self._waker = waker
        self._queue: deque[tuple[Channel, Hello]] = deque()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._queue)

    def accept(self, channel: Channel, hello: Hello) -> None:
        """Queue a peer (called on a handshake's thread)."""
        self._queue.append((channel, hello))
        if self._is_closed:
            self._close_queued()
        self._waker.wake()

    def take(self) -> tuple[Channel, Hello]:
        return self._queue.popleft()

    def close(self) -> None:
        """Close the connections of the queued peers, and of all later ones."""
        self._is_closed = True
        self._close_queued()

    def _close_queued(self) -> None:
        with suppress(IndexError):  # a second thread may empty the queue meanwhile
            while True:
                self._queue.popleft()[0].close()


class Admission:
    """Attaches peers to the host of one epoch (driver only)."""

    def __init__(
        self,
        ctx: PeerContext,
        claim: EpochClaim,
        fanout: FanOut,
        ordering: Ordering,
        liveness: MemberLiveness,
    ) -> None:
        self._ctx = ctx
        self._participant = ctx.participant
        self._claim = claim
        self._fanout = fanout
        self._ordering = ordering
        self._liveness = liveness

    def attach(self, channel: Channel, hello: Hello) -> None:
        """Attach a peer and let it catch up, or refuse it with the reason."""
        if self._claim.deposed or self._gives_way_to(hello):
            self._claim.depose()
            channel.close()
            return
        name, peer = self._participant.name, hello.peer
        try:
            has_place = self._check(hello)
        except MemSyncError as error:
            log.info("refused name=%s peer=%s pid=%s: %s", name, peer, hello.pid, error)
            channel.queue(frame(Refused(to_wire(error))))
            _flush_once(channel)
            channel.close()
            return
        old = self._fanout.clients.get(peer)
        if old is not None:
            self._fanout.drop(old, "it attached again")
        try:
            self._join(hello, has_place)
            channel.max_frame = self._participant.writer.max_frame
            log.info("attached name=%s peer=%s pid=%s", name, peer, hello.pid)
            self._attach(channel, hello)
        except TornCopyError:  # the role ends, and the peer asks the next host
            channel.close()
            raise

    def _gives_way_to(self, hello: Hello) -> bool:
        """Whether a peer's state has precedence over this host's, so that an election must follow.

        That is the state of a cluster that was founded earlier, and one of a later epoch: if all
        locks were deleted, only the peers that were in a later epoch know of it.
        """
        own = self._participant.state.cluster_id
        if hello.protocol != PROTOCOL or not hello.cluster_id:
            return False
        epoch = self._claim.epoch
        last = epoch if hello.cluster_id == own else epoch - 1
        if own <= hello.cluster_id and hello.epoch <= last:
            return False
        held = f"cluster={hello.cluster_id} held_epoch={hello.epoch}"
        log.warning("stepping down %s holder=%s %s", self._ctx, hello.peer, held)
        return True

    def _check(self, hello: Hello) -> bool:
        """Whether a peer that may join has a place; the others stand by."""
        if hello.protocol != PROTOCOL:
            raise ProtocolError(
                f"this peer speaks protocol {hello.protocol}, the host (process "
                f"{self._ctx.platform.pid()}) protocol {PROTOCOL}: use one version of memsync"
            )
        check_peer_id(hello.peer)
        if hello.peer == self._ctx.id:
            raise ProtocolError(f"the peer id {hello.peer} is that of the host")
        if hello.name != self._participant.name:
            raise ProtocolError(f"this host serves {self._participant.name!r}, not {hello.name!r}")
        check_group_options(self._participant.state.options, hello.options)
        if not self._liveness.lacks_place(hello.peer):
            return True
        members = self._participant.state.members
        if hello.waits and any(map(stands_by, members.values())):
            return False  # the others come first
        try:
            self._liveness.make_room(hello.member())
        except MaxWritersError:
            if not hello.waits:
                raise
            return False
        return True

    def _join(self, hello: Hello, has_place: bool) -> None:
        """Make a peer a member, or let in one that has had its place before a host was lost."""
        peer, member = hello.peer, hello.member()
        self._liveness.has_attached(peer)
        if not self._liveness.lacks_place(peer):
            return
        if has_place:
            since = self._ctx.platform.wall_ms() / 1000
            self._ordering.append(MemberKind.name, joining(let_in(member, since)))
        elif peer not in self._participant.state.members:
            self._ordering.append(MemberKind.name, joining(standing_by(member)))

    def _attach(self, channel: Channel, hello: Hello) -> None:
        channel.may_skip = True
        session = ClientSession(hello.peer, channel)
        is_same = hello.cluster_id == self._participant.state.cluster_id
        pair = (hello.epoch, hello.version) if is_same else (0, 0)
        self._queue_catch_up(session, pair, hello.first_open, hello.first_unknown)
        self._fanout.add(session)

    def catch_up(self, session: ClientSession) -> None:
        """Send the current state to a slow peer that has taken everything it was sent."""
        self._queue_catch_up(session, (0, 0), 1, 1, has_at_most=session.has_at_most)
        self._fanout.send(session)

    def _queue_catch_up(
        self,
        session: ClientSession,
        pair: tuple[int, int],
        first_open: int,
        first_unknown: int,
        has_at_most: int = 0,
    ) -> None:
        """Queue the entries or snapshot that a peer lacks, and outcomes that it may not know."""
        participant, channel = self._participant, session.channel
        sequencer = self._ordering.sequencer
        decisions = sequencer.attach(session.peer, first_open, first_unknown)
        if self._ctx.platform.buggify("a catch-up is a snapshot"):
            pair, has_at_most = (0, 0), max(pair[1], has_at_most)
        oldest = self._fanout.oldest
        snapshot, frames = participant.replica.catch_up(*pair, has_at_most, oldest)
        last, version = sequencer.last(session.peer), participant.state.version
        session.taken_version = session.sent_version = version if snapshot else pair[1]
        welcome = Welcome(self._ctx.id, self._claim.epoch, version, snapshot, last)
        channel.queue(frame(welcome))
        for each in frames:
            channel.queue(each)
        for decision in decisions:
            channel.queue(frame(decision))
        if self._ordering.concerns:
            channel.queue(frame(Confirm()))
        session.catch_up_bytes = channel.queued_total


def _flush_once(channel: Channel) -> None:
    try:
        channel.flush()
    except ChannelLost as error:
        log.debug("the refused peer has gone already: %s", error)
