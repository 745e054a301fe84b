"""What goes out from the host to its attached peers: when it is sent, and to whom it is too much.

Each entry is queued for all peers at once, so each stream holds all entries in order. Who waits for
an answer is *urgent* and flushed in the same round; pushes to the others may wait while more input
is there, for a bounded number of rounds.

A peer that takes its pushes too slowly, or none at all for a while, *lags*: what waits for it is
dropped, nothing more is pushed to it, and when it has taken the rest it is to be brought level anew
over the same connection.
"""

from __future__ import annotations

import logging
import selectors
from collections.abc import Callable

from ..context import PeerContext
from ..transport.channel import Channel, ChannelLost, change_interest

log = logging.getLogger("memsync.host")

Mark = tuple["ClientSession", int, int]  # how often it had lagged, bytes queued for it


class ClientSession:
    """A peer's channel at the host."""

    __slots__ = (
        "catch_up_bytes",
        "channel",
        "has_at_most",
        "is_slow",
        "peer",
        "ping_at",
        "registered",
        "round_trip",
        "stalled_since",
        "times_slow",
    )

    def __init__(self, peer: str, channel: Channel) -> None:
        self.peer = peer
        self.channel = channel
        self.catch_up_bytes = 0  # bytes: what brings it level does not count as falling behind
        self.registered = 0
        self.is_slow = False
        self.has_at_most = 0  # version, when it last began to lag
        self.times_slow = 0  # how often it has lagged
        self.stalled_since = 0.0  # monotonic seconds; 0: it takes what it gets
        self.ping_at = 0.0
        self.round_trip: float | None = None

    @property
    def behind(self) -> int:
        """Bytes of pushes and answers which the peer has not taken."""
        return self.channel.queued_total - max(self.channel.sent_total, self.catch_up_bytes)


class FanOut:
    """The attached peers of one host and the frames on their way to them (driver only).

    `lost` is called when a peer's connection has ended, `caught_up` when one that lagged has taken
    what was left for it.
    """

    def __init__(
        self,
        ctx: PeerContext,
        selector: selectors.BaseSelector,
        lost: Callable[[ClientSession, str], None],
        caught_up: Callable[[ClientSession], None],
    ) -> None:
        self.clients: dict[str, ClientSession] = {}
        self._ctx = ctx
        self._participant = ctx.participant
        self._platform = ctx.platform
        self._selector = selector
        self._lost = lost
        self._caught_up = caught_up
        self._trace = ctx.participant.trace
        self._max_queue = ctx.options.network.max_queue
        # In the order of their coming, so that the same input gives the same output.
        self._urgent: dict[str, None] = {}
        self._coalesced: dict[str, None] = {}
        self._coalesced_rounds = 0

    @property
    def is_waiting(self) -> bool:
        """Whether pushes wait for a quiet round."""
        return bool(self._coalesced)

    @property
    def has_work(self) -> bool:
        """Whether anything may be sent in this round."""
        return bool(self._urgent or self._coalesced)

    def add(self, session: ClientSession) -> None:
        """A peer is attached; what was queued for it is sent."""
        self.clients[session.peer] = session
        self.send(session)

    def drop(self, session: ClientSession, reason: str, *, loud: bool = False) -> None:
        """A peer is not session any more; `loud` warns of it."""
        level = logging.WARNING if loud else logging.INFO
        name, peer = self._participant.name, session.peer
        log.log(level, "detached name=%s peer=%s reason=%r", name, peer, reason)
        change_interest(self._selector, session.channel, session.registered, 0)
        session.channel.close()
        del self.clients[session.peer]
        self._coalesced.pop(session.peer, None)

    def push(self, encoded: bytes) -> None:
        """Queue a frame for all who keep up."""
        for peer, session in self.clients.items():
            if not session.is_slow:
                session.channel.queue(encoded)
                self._coalesced[peer] = None

    def answer(self, session: ClientSession, encoded: bytes) -> None:
        """Queue a frame for one peer, to be sent in this round."""
        session.channel.queue(encoded)
        self._urgent[session.peer] = None

    def flush_soon(self, session: ClientSession) -> None:
        """What waits for this peer is to be sent in this round."""
        self._urgent[session.peer] = None

    def flush_all_soon(self) -> None:
        """What waits for any peer is to be sent in this round."""
        self._urgent.update(dict.fromkeys(self.clients))

    def flush(self, *, quiet: bool) -> None:
        """Send what is urgent, and the rest as well when there was no input or it has waited."""
        urgent, self._urgent = self._urgent, {}
        for peer in urgent:
            self._coalesced.pop(peer, None)
        if quiet or self._coalesced_rounds >= self._ctx.timing.coalesced_rounds:
            urgent |= self._coalesced
            self._coalesced.clear()
        self._coalesced_rounds = self._coalesced_rounds + 1 if self._coalesced else 0
        for peer in urgent:
            session = self.clients.get(peer)
            if session is not None:
                self.send(session)

    def send(self, session: ClientSession) -> None:
        """Hand what is queued for a peer to the kernel."""
        taken = session.channel.sent_total
        try:
            done = session.channel.flush()
        except ChannelLost as error:
            self._lost(session, str(error))
            return
        if self._trace is not None:
            size = session.channel.sent_total - taken
            self._trace("sent", to=session.peer, bytes=size, waiting=session.channel.backlog)
        if session.is_slow and done:
            session.is_slow = False
            self._caught_up(session)
            return
        if not session.is_slow and self._is_too_slow(session, done, taken):
            log.info("lagging name=%s peer=%s", self._participant.name, session.peer)
            session.is_slow = True
            session.times_slow += 1
            session.has_at_most = self._participant.state.version
            # A level that is on its way arrives whole, or the peer might never get one.
            session.channel.drop_unsent(session.catch_up_bytes)
        mask = selectors.EVENT_READ if done else selectors.EVENT_READ | selectors.EVENT_WRITE
        session.registered = change_interest(
            self._selector, session.channel, session.registered, mask, session.peer
        )

    def _is_too_slow(self, session: ClientSession, done: bool, taken: int) -> bool:
        if session.behind > self._max_queue:
            return True
        now = self._platform.monotonic()
        if done or session.channel.sent_total > taken:
            session.stalled_since = 0.0
            return False
        if not session.stalled_since:
            session.stalled_since = now
            if self._platform.buggify("a peer lags"):
                return True
        return now - session.stalled_since > self._ctx.timing.stall

    # -- who has what ----------------------------------------------------------------------------

    def marks(self) -> dict[str, Mark]:
        """How far each peer that keeps up must have been sent to have all that is queued now."""
        return {
            peer: (session, session.times_slow, session.channel.queued_total)
            for peer, session in self.clients.items()
            if not session.is_slow
        }

    def is_pushed(self, marks: dict[str, Mark]) -> bool:
        """Whether some kernel has all up to its peer's mark; marks of the gone are renewed.

        A peer that lags, or has lagged since, counts as gone: its mark was dropped with the rest.
        """
        for peer in [peer for peer, mark in marks.items() if not self._stands(mark)]:
            del marks[peer]
        if not marks:
            marks.update(self.marks())
        if not marks:
            return True
        return any(one.channel.sent_total >= total for one, _, total in marks.values())

    def _stands(self, mark: Mark) -> bool:
        session, lapses, _ = mark
        is_attached = self.clients.get(session.peer) is session  # not by another channel
        return is_attached and not session.is_slow and session.times_slow == lapses
