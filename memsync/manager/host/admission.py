"""Admission: peers that ask to be attached are checked and brought level, or refused.

A peer that asks is a survivor, a peer whose link broke, or a newcomer; what it says of itself in
its `Hello` decides what it is sent.
"""

from __future__ import annotations

import logging

from ...errors import MemSyncError, ProtocolError, to_wire
from ...replication.codec import frame
from ...replication.group_options import check_group_options
from ...replication.kinds.member import MemberKind, joining
from ...replication.membership import check_peer_id
from ..context import PeerContext
from ..transport.channel import Channel, ChannelLost
from ..transport.messages import PROTOCOL, Confirm, Hello, Refused, Welcome
from .claim import EpochClaim
from .fanout import ClientSession, FanOut
from .liveness import MemberLiveness
from .ordering import Ordering

log = logging.getLogger("memsync.host")


class Admission:
    """Who is attached to the host of one epoch (driver only)."""

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
        """Attach a peer and bring it level, or say why not."""
        if self._claim.deposed or self._gives_way_to(hello):
            self._claim.deposed = True
            channel.close()
            return
        name, peer = self._participant.name, hello.peer
        try:
            self._check(hello)
        except MemSyncError as error:
            log.info("refused name=%s peer=%s pid=%s: %s", name, peer, hello.pid, error)
            channel.queue(frame(Refused(to_wire(error))))
            _flush_once(channel)
            channel.close()
            return
        old = self._fanout.clients.get(peer)
        if old is not None:
            self._fanout.drop(old, "it attached anew")
        if peer not in self._participant.state.members:
            self._ordering.append(MemberKind.name, joining(hello.member()))
        channel.max_frame = self._participant.writer.max_frame
        log.info("attached name=%s peer=%s pid=%s", name, peer, hello.pid)
        self._attach(channel, hello)

    def _gives_way_to(self, hello: Hello) -> bool:
        """Whether a peer holds what this host cannot go on beside; there is an election then.

        That is the object of a network founded earlier, and a pair that would have to go back: once
        all locks were deleted, nobody may know of a later epoch but those who were in it.
        """
        own = self._participant.state.cluster_id
        if hello.protocol != PROTOCOL or not hello.cluster_id:
            return False
        epoch = self._claim.epoch
        last = epoch if hello.cluster_id == own else epoch - 1
        if own <= hello.cluster_id and hello.epoch <= last:
            return False
        held = f"network={hello.cluster_id} epoch={hello.epoch}"
        log.warning("stepping down %s: peer=%s holds %s", self._ctx, hello.peer, held)
        return True

    def _check(self, hello: Hello) -> None:
        if hello.protocol != PROTOCOL:
            raise ProtocolError(
                f"this peer speaks protocol {hello.protocol}, the host (process "
                f"{self._ctx.platform.pid()}) protocol {PROTOCOL}: use one version of memsync"
            )
        check_peer_id(hello.peer)
        if hello.peer == self._ctx.id:
            raise ProtocolError(f"the id {hello.peer} is the host's own")
        if hello.name != self._participant.name:
            raise ProtocolError(f"this host serves {self._participant.name!r}, not {hello.name!r}")
        check_group_options(self._participant.state.options, hello.options)
        if hello.peer not in self._participant.state.members:
            self._liveness.make_room(hello.member())

    def _attach(self, channel: Channel, hello: Hello) -> None:
        session = ClientSession(hello.peer, channel)
        is_other = hello.cluster_id != self._participant.state.cluster_id  # it joins as new
        pair = (0, 0) if is_other else (hello.epoch, hello.version)
        self._queue_catch_up(session, pair, hello.first_open, hello.first_unknown)
        self._fanout.add(session)

    def catch_up(self, session: ClientSession) -> None:
        """A slow peer has taken what was left: it gets the state as it is now."""
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
        """Queue what brings a peer level, and the outcomes that it may not know."""
        participant, channel = self._participant, session.channel
        sequencer = self._ordering.sequencer
        decisions = sequencer.attach(session.peer, first_open, first_unknown)
        if self._ctx.platform.buggify("a catch-up is a snapshot"):
            pair, has_at_most = (0, 0), max(pair[1], has_at_most)
        snapshot, frames = participant.replica.catch_up(*pair, has_at_most)
        last, version = sequencer.last(session.peer), participant.state.version
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
