"""Fan-out from the host to its clients: batching, and what happens to a slow client.

Pushed frames wait in one list for all clients. Before anything is sent to a client, or queued for
it alone, it takes the frames that it lacks, so each stream holds all entries in order. A client
that waits for an answer is *urgent* and flushed in the same round. Pushes to the others *linger*:
the first goes at once, and those that follow within ``network.linger`` go together, because each
push wakes a process. In a group of many they linger longer, and in a *flood* too: while each push
carries several entries, which two peers that wait for each other in turn never cause. They go as
soon as it is quiet. A write concern makes all clients urgent, and a client that goes does, too.

A client that takes its pushes too slowly, or none for a while, is *slow*. Its queued frames are
dropped, and nothing more is pushed to it. Once it has taken the rest, it catches up over the same
connection.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ...runtime.logs import Logger
from ..context import PeerContext
from ..platform.selector import READ, WRITE, Selector
from ..transport.channel import Channel, ChannelLost, change_interest

log = Logger("memsync.host")

Mark = tuple["ClientSession", int, int]  # its `times_slow` and the bytes queued for it


class ClientSession:
    """An attached peer, as the host sees it."""

    __slots__ = (
        "catch_up_bytes",
        "channel",
        "has_at_most",
        "is_slow",
        "peer",
        "ping_at",
        "registered",
        "round_trip",
        "sent_version",
        "stalled_since",
        "taken",
        "taken_version",
        "times_slow",
    )

    def __init__(self, peer: str, channel: Channel) -> None:
        self.peer = peer
        self.channel = channel
        self.catch_up_bytes = 0  # the end of its catch-up, which does not make it slow
        self.registered = 0
        self.taken = 0  # how many of the pushed frames are in the channel
        self.taken_version = 0  # the last version that is in the channel
        self.sent_version = 0  # the last one that the kernel is known to have
        self.is_slow = False
        self.has_at_most = 0  # the version when it last became slow
        self.times_slow = 0  # how often it has become slow
        self.stalled_since = 0.0  # monotonic seconds; 0: it takes what it is sent
        self.ping_at = 0.0
        self.round_trip: float | None = None

    @property
    def signs_of_life(self) -> int:
        """Grows while the peer runs: it sends something, or takes what has held it up."""
        channel = self.channel
        return channel.received_total + (channel.sent_total if self.is_slow else 0)

    @property
    def behind(self) -> int:
        """Bytes of pushes and answers that the peer has not taken."""
        return self.channel.queued_total - max(self.channel.sent_total, self.catch_up_bytes)


class FanOut:
    """The clients of one host and the frames on their way to them (driver only).

    `on_lost` is called when a connection has ended, `on_drained` when a slow client has taken all
    frames that were left for it.
    """

    def __init__(
        self,
        ctx: PeerContext,
        selector: Selector,
        on_lost: Callable[[ClientSession, str], None],
        on_drained: Callable[[ClientSession], None],
    ) -> None:
        self.clients: dict[str, ClientSession] = {}
        self._ctx = ctx
        self._participant = ctx.participant
        self._platform = ctx.platform
        self._selector = selector
        self._on_lost = on_lost
        self._on_drained = on_drained
        self._trace = ctx.participant.trace
        self._wake_time = ctx.timing.wake / ctx.platform.processors()
        self._max_queue = ctx.options.network.max_queue
        # Dicts keep the order, so that the same input gives the same output.
        self._urgent: dict[str, None] = {}
        self._frames: list[bytes] = []  # pushed, and not taken by all clients yet
        self._joined = (0, 0, b"")  # the last frames that were taken: from, to, and their bytes
        # Monotonic seconds: pushes linger until the first of two moments, but in a group of many
        # not before the third.
        self._lingers_until = 0.0
        self._quiet_at = 0.0  # no entry came for a while
        self._rests_until = 0.0
        self._noticed = 0  # frames that were there at the last flush

    @property
    def next_push(self) -> float:
        """When lingering pushes are due (monotonic seconds)."""
        if not self._frames:
            return float("inf")
        return max(min(self._lingers_until, self._quiet_at), self._rests_until)

    @property
    def oldest(self) -> int:
        """The lowest version that some client which keeps up has."""
        sent = (each.sent_version for each in self.clients.values() if not each.is_slow)
        return min(sent, default=self._participant.state.version)

    def has_work(self, now: float) -> bool:
        """Whether `flush` would send something (monotonic seconds)."""
        return bool(self._urgent) or now >= self.next_push

    def add(self, session: ClientSession) -> None:
        """A peer is attached; send what is queued for it."""
        self.clients[session.peer] = session
        session.taken = len(self._frames)
        self.send(session)

    def drop(self, session: ClientSession, reason: str, *, loud: bool = False) -> None:
        """Close a connection, if that has not been done; `loud` logs a warning."""
        if self.clients.get(session.peer) is not session:
            return  # what was being sent to it has found its end first
        level = logging.WARNING if loud else logging.INFO
        name, peer = self._participant.name, session.peer
        log.log(level, "detached name=%s peer=%s reason=%r", name, peer, reason)
        change_interest(self._selector, session.channel, session.registered, 0)
        session.channel.close()
        del self.clients[session.peer]
        self.flush_all_soon()  # it may have been the only other one to have an entry

    def push(self, encoded: bytes) -> None:
        """Queue a frame for all clients that are not slow."""
        if self.clients:
            self._frames.append(encoded)

    def answer(self, session: ClientSession, encoded: bytes) -> None:
        """Queue a frame for one client and send it in this round."""
        self._take(session)
        session.channel.queue(encoded)
        self._urgent[session.peer] = None

    def flush_soon(self, session: ClientSession) -> None:
        """Send what is queued for one client in this round."""
        self._urgent[session.peer] = None

    def flush_all_soon(self) -> None:
        """Send what is queued for any client in this round."""
        self._urgent.update(dict.fromkeys(self.clients))

    def flush_one_soon(self) -> None:
        """Send what is queued for some client that takes it in this round."""
        for session in self.clients.values():
            if not session.is_slow:
                self._urgent[session.peer] = None
                return

    def flush(self, now: float) -> None:
        """Send to urgent clients, and then the pushes that are due (monotonic seconds)."""
        if self._urgent:
            urgent, self._urgent = self._urgent, {}
            for peer in urgent:
                session = self.clients.get(peer)
                if session is not None:
                    self.send(session)
            if len(urgent) == len(self.clients):
                self._drop_taken()
        if len(self._frames) != self._noticed:
            self._noticed = len(self._frames)
            self._quiet_at = now + self._ctx.timing.quiet
        if now >= self.next_push:
            self._linger(now)
            if not self._platform.buggify("pushes wait"):
                self._send_frames()

    def flush_now(self) -> None:
        """Send the pushes that linger: the only other peer that has the entries leaves."""
        self._send_frames()

    def _send_frames(self) -> None:
        for session in list(self.clients.values()):
            if session.taken < len(self._frames):
                self.send(session)
        self._drop_taken()

    def _drop_taken(self) -> None:
        """Drop the frames if all clients have taken them."""
        waiting = [each.taken for each in self.clients.values()]
        if min(waiting, default=len(self._frames)) == len(self._frames):
            self._frames.clear()
            self._noticed = 0
            self._joined = (0, 0, b"")
            for session in self.clients.values():
                session.taken = 0

    def _linger(self, now: float) -> None:
        """Set how long pushes linger after this one (monotonic seconds)."""
        linger, timing = self._ctx.options.network.linger, self._ctx.timing
        # Waking all clients must take but a part of the processors.
        self._rests_until = now + len(self.clients) * self._wake_time if linger else now
        if len(self._frames) >= timing.flood:
            linger *= timing.flood_lingers
        self._lingers_until = now + linger

    def _take(self, session: ClientSession) -> None:
        """Queue the pushed frames that a client lacks."""
        first, last = session.taken, len(self._frames)
        if first == last:
            return
        session.taken = last
        session.taken_version = self._participant.state.version
        if session.is_slow:
            return
        if self._joined[:2] != (first, last):
            self._joined = (first, last, b"".join(self._frames[first:]))
        session.channel.queue(self._joined[2])

    def send(self, session: ClientSession) -> None:
        """Hand what is queued for a client to the kernel."""
        self._take(session)
        taken = session.channel.sent_total
        try:
            done = session.channel.flush()
        except ChannelLost as error:
            self._on_lost(session, str(error))
            return
        if self._trace is not None:
            size = session.channel.sent_total - taken
            self._trace("sent", to=session.peer, bytes=size, waiting=session.channel.backlog)
        if done:
            session.sent_version = session.taken_version
        if session.is_slow and done:
            session.is_slow = False
            self._on_drained(session)
            return
        if not session.is_slow and self._is_too_slow(session, done, taken):
            log.info("slow client name=%s peer=%s", self._participant.name, session.peer)
            session.is_slow = True
            session.times_slow += 1
            session.has_at_most = self._participant.state.version
            # A catch-up on its way is kept, or a client might never complete one.
            session.channel.drop_unsent(session.catch_up_bytes)
        mask = READ if done else READ | WRITE
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
        stalled = now - session.stalled_since - self._ctx.timing.stall
        return stalled > 0 and stalled > self._ctx.place.folder.long_step(session.peer)

    # -- which client has what -------------------------------------------------------------------

    def marks(self) -> dict[str, Mark]:
        """For each client that is not slow, the end of all that is queued for it now."""
        marks = {}
        bytes_from: dict[int, int] = {}  # of the frames from an index on
        for peer, session in self.clients.items():
            if session.is_slow:
                continue
            first = session.taken
            if first not in bytes_from:
                bytes_from[first] = sum(map(len, self._frames[first:]))
            end = session.channel.queued_total + bytes_from[first]
            marks[peer] = (session, session.times_slow, end)
        return marks

    def is_pushed(self, marks: dict[str, Mark]) -> bool:
        """Whether the kernel has taken all up to the mark of some client.

        Drops the marks of clients that have gone or become slow; renews all if none is left.
        """
        for peer in [peer for peer, mark in marks.items() if not self._is_valid(mark)]:
            del marks[peer]
        if not marks:
            marks.update(self.marks())
        if not marks:
            return True
        return any(one.channel.delivered_total >= total for one, _, total in marks.values())

    def _is_valid(self, mark: Mark) -> bool:
        session, times_slow, _ = mark
        is_attached = self.clients.get(session.peer) is session  # not by a later connection
        return is_attached and not session.is_slow and session.times_slow == times_slow
