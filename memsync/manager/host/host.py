"""The host: one thread with one selector that orders all writes and serves all attached peers.

A round of the loop: read what has arrived, order it (see `ordering`), show it, send it (see
`fanout`).
"""

from __future__ import annotations

import logging
import selectors
import threading
import time
from typing import Any

from ...errors import ProtocolError, RendezvousError
from ...replication.codec import chunk_size, frame
from ...replication.entries import Propose
from ...replication.kinds.epoch import EpochKind
from ...replication.kinds.member import MemberKind, joining
from ...replication.membership import Members
from ...replication.pending import PendingWrite
from ...replication.replica import Outcome
from ...replication.write_concern import ResumeConcern
from ...runtime.awaited_write import AwaitedWrite
from ..context import PeerContext
from ..folder.cleaning import clean
from ..platform.task import Ready, Select, Task
from ..transport.channel import Channel, ChannelLost
from ..transport.messages import Applied, Hello, Leave, Ping, Pong, parse
from .admission import Admission
from .claim import Deposed, EpochClaim
from .fanout import ClientSession, FanOut
from .handover import Handover
from .joining import JoiningPeers
from .liveness import MemberLiveness
from .ordering import Ordering
from .step_down import StepDown

log = logging.getLogger("memsync.host")


class Host:
    """The host of one epoch; the state is complete when it is made."""

    status = "host"
    lost = False
    granted = None

    def __init__(self, ctx: PeerContext, claim: EpochClaim, joining_peers: JoiningPeers) -> None:
        ctx.adopt_group_options()
        self.claim = claim
        self.epoch = claim.epoch
        self._ctx = ctx
        self._participant = ctx.participant
        self._participant.replica.chunk_bytes = chunk_size(ctx.participant.writer.max_frame)
        self._joining = joining_peers
        self._platform = ctx.platform
        self._suspicious_until = 0.0
        self._pings_wanted = False
        self._ponged = threading.Condition(threading.Lock())
        self._look_for_writes = False
        self._selector = self._platform.new_selector(ctx.waker)
        self.fanout = FanOut(ctx, self._selector, self._was_lost, self._catch_up)
        self.clients = self.fanout.clients
        self._liveness = MemberLiveness(ctx, self.clients, self._leave)
        self.ordering = Ordering(ctx, claim.epoch, self.fanout, self._liveness.remove_dead)
        self._admission = Admission(ctx, claim, self.fanout, self.ordering, self._liveness)
        self.handover = Handover(ctx, claim, self.fanout, self.ordering, self.round)
        self._step_down = StepDown(ctx, self.fanout)

    # -- opening (driver) ------------------------------------------------------------------------

    def open(self, living: set[str], granted_by: str | None, unreported: Members) -> None:
        """Begin the epoch: its first entry, the dead leave, this peer is a member.

        The host that stops and has granted this epoch leaves as well. Raises `MaxWritersError` when
        this peer is a newcomer for whom there is no place (see `MemberLiveness.begin`), and
        `Deposed`.
        """
        ctx, participant, ordering = self._ctx, self._participant, self.ordering
        own = ctx.member()
        gone = self._liveness.begin(own, living, granted_by, unreported)
        self.claim.mark(is_open=True)
        self.claim.look()  # the last thing before this copy goes on by itself
        if self.claim.deposed:
            raise Deposed
        body = {"host": ctx.id, "pid": own["pid"], "address": self.claim.server.endpoint}
        ordering.append(EpochKind.name, body)
        for peer in gone:
            ordering.leave(peer)
            self._liveness.has_left(peer)
        if ctx.id not in participant.state.members:
            ordering.append(MemberKind.name, joining(own))
        writer, sequencer = participant.writer, ordering.sequencer
        for decision in sequencer.attach(
            ctx.id, writer.first_open, participant.replica.writes.first_unknown
        ):
            participant.replica.decide(decision)
        self.claim.write_rendezvous()
        # A host that stopped is about to go.
        self._suspicious_until = self._platform.monotonic() + ctx.timing.suspicion
        if not self._platform.buggify("what the dead left stays"):
            clean(ctx.place.folder, self.epoch)
        participant.enter_role(self, sequencer.last(ctx.id), hosts=True)

    def attach(self, channel: Channel, hello: Hello) -> None:
        """See `Admission.attach`."""
        self._admission.attach(channel, hello)

    # -- the loop (driver) -----------------------------------------------------------------------

    def run(self) -> Task[str]:
        """Serve until the peer stops, is deposed or steps down; returns why."""
        ctx = self._ctx
        poll = ctx.options.network.poll
        writer = self._participant.writer
        now = self._platform.monotonic()
        next_look = next_repair = now + poll
        while not ctx.stopping:
            next_event = min(next_look, next_repair, self.claim.next_heartbeat)
            next_event = min(next_event, writer.next_deadline(), self._step_down.next_look)
            yield from self.round(max(next_event - now, 0))
            if self.claim.is_lost():
                return "deposed"
            now = self._platform.monotonic()
            writer.give_up_late(now)
            if now >= next_look:
                next_look = now + poll
                self._liveness.remove_dead()
                self._liveness.forget_the_gone()
            elif now < self._suspicious_until:
                next_look = min(next_look, now + ctx.timing.suspicious_check)
            if now >= next_repair:
                next_repair = now + poll
                self._participant.replica.forget_encoding()
                ctx.place.repair_or_log(self.claim.repair_as_host)
            self._step_down.look(now)
            if self._step_down.successor is not None:
                return self._step_down.reason
        return "stopped"

    def round(self, timeout: float) -> Task[None]:
        """Take in what has come, within so many seconds, order it, show it and send it."""
        self.claim.heartbeat(self._platform.monotonic())
        if self.claim.deposed:
            return
        ordering, fanout = self.ordering, self.fanout
        joins = len(self._joining) and not self.handover.has_granted
        if fanout.is_waiting or ordering.inbox or joins or ordering.resumes or ordering.reached:
            timeout = 0
        if ordering.unpushed:
            timeout = min(timeout, self._ctx.timing.stall / 4)  # to see in time who takes nothing
        self._step_down.lag.wait_begins()
        events: Ready = yield Select(self._selector, timeout)
        self._step_down.lag.wait_ended()
        if (events or ordering.inbox) and self.claim.is_lost():
            return
        self._take_in(events)
        if self._look_for_writes:
            self._look_for_writes = False
            ordering.look_for_unqueued()
        ordering.order_own()
        while self._joining and not self.handover.has_granted:
            self.attach(*self._joining.take())
        if self._pings_wanted:
            self._send_pings()
        ordering.publish()
        if (fanout.has_work or ordering.unpushed or ordering.reached) and self.claim.is_lost():
            return
        ordering.report_reached()
        fanout.flush(quiet=not events and not self._platform.buggify("pushes wait"))
        if ordering.unpushed and not self.claim.is_lost():
            ordering.acknowledge()

    def _take_in(self, events: Ready) -> None:
        for key, mask in events:
            if key.fileobj is self._ctx.waker:
                self._ctx.waker.clear()
                continue
            session = self.clients.get(key.data)
            if session is None or session.channel is not key.fileobj:
                continue
            if mask & selectors.EVENT_WRITE:
                self.fanout.flush_soon(session)
            if mask & selectors.EVENT_READ:
                self._receive(session)

    def _receive(self, session: ClientSession) -> None:
        self._step_down.asked()
        try:
            for body in session.channel.receive():
                self._handle(session, parse(body))
                if session.peer not in self.clients:
                    return
        except ChannelLost as error:
            self._was_lost(session, str(error))
        except ProtocolError as error:
            self._drop(session, f"it broke the protocol: {error}", loud=True)
        except Exception:  # whatever one peer sends, the host goes on for the others
            log.exception("a message of peer %s could not be handled", session.peer)
            self._drop(session, "its message could not be handled", loud=True)

    def _handle(self, session: ClientSession, message: object) -> None:
        if type(message) is Propose:
            self.ordering.order(session, message)
            return
        match message:
            case Ping():
                self.fanout.answer(session, frame(Pong(message.token)))
            case Pong() if message.token:
                self._step_down.answered(session.peer, message.token)
            case Pong():
                session.round_trip = self._platform.monotonic() - session.ping_at
                with self._ponged:
                    self._ponged.notify_all()
            case Applied():
                self.ordering.applied(session.peer, message.version)
            case ResumeConcern():
                self._liveness.remove_dead()
                number, version = message.number, message.version
                w, journal = message.w, message.journal
                self.ordering.begin_watch(session.peer, number, version, w, journal)
            case Leave():
                self._was_lost(session, "it left")
                self.handover.has_left(session.peer)
                self._leave(session.peer)
            case _:
                raise ProtocolError(f"a client does not send {type(message).__name__}")

    def _was_lost(self, session: ClientSession, reason: str) -> None:
        self._drop(session, reason)

    def _drop(self, session: ClientSession, reason: str, *, loud: bool = False) -> None:
        self.fanout.drop(session, reason, loud=loud)
        self._suspicious_until = self._platform.monotonic() + self._ctx.timing.suspicion

    def _catch_up(self, session: ClientSession) -> None:
        self._admission.catch_up(session)

    def _leave(self, peer: str, keeps_row: bool = False) -> None:
        if self.handover.has_granted:
            return  # an entry more, and the successor would not have all; it will see who is gone
        self._liveness.has_left(peer)
        self.ordering.leave(peer, keeps_row=keeps_row)

    # -- the uplink of the host's own writes (any thread) ----------------------------------------

    def queue_write(self, write: PendingWrite, encoded: bytes) -> None:
        """Hand a write of the host's own to the loop; the participant's guard is held."""
        self.ordering.inbox.append(write)

    def queue_resume(self, message: ResumeConcern) -> None:
        """Have an accepted write of the host's own watched; the participant's guard is held."""
        self.ordering.resumes.append(message)

    def kick(self, *, coalesced: bool = False) -> None:
        """Wake the loop."""
        self._ctx.waker.wake()

    def wait_for(self, write: PendingWrite, deadline: float) -> None:
        """The loop decides; there is nothing the waiting thread could do for it."""

    def on_interrupt(self) -> None:
        """A writing thread was interrupted: look for writes that it numbered but did not queue."""
        self._look_for_writes = True
        self._ctx.waker.wake()

    # -- questions (any thread) ------------------------------------------------------------------

    def ping(self, timeout: float) -> dict[str, Any]:
        """Round trips to all clients, in seconds; None for one that did not answer in time."""
        return {"connection": "host", "host": {"time": 0.0}, "clients": self._pinged(timeout)}

    def _pinged(self, timeout: float) -> list[dict[str, Any]]:
        for session in list(self.clients.values()):
            session.round_trip = None
        self._pings_wanted = True
        self._ctx.waker.wake()
        deadline = time.monotonic() + timeout
        with self._ponged:
            while True:
                clients = list(self.clients.values())
                times = [{"id": each.peer, "time": each.round_trip} for each in clients]
                left = deadline - time.monotonic()
                if left <= 0 or not times or all(each["time"] is not None for each in times):
                    return times
                self._ponged.wait(min(left, 0.05))

    def _send_pings(self) -> None:
        self._pings_wanted = False
        for session in self.clients.values():
            session.ping_at = self._platform.monotonic()
            self.fanout.answer(session, frame(Ping(0)))

    def host_facts(self) -> dict[str, Any]:
        """This peer, as the host."""
        return {
            "id": self._ctx.id,
            "pid": self._platform.pid(),
            "address": self.claim.server.endpoint,
            "started": True,
            "connections": len(self.clients),
            "since": self.claim.since,
        }

    def announcement(self) -> str:
        """Where this host is to be found."""
        return f"address={self.claim.server.endpoint}"

    def describe_host(self) -> str:
        """Why a write of the host's own may get no answer."""
        return "this process is the host, and no peer takes what it sends"

    def broke_although_the_host_lives(self) -> bool:
        """A host is no link."""
        return False

    # -- the end ---------------------------------------------------------------------------------

    @property
    def leaves_file(self) -> bool:
        """A host takes its file with it, unless a successor is to remove it."""
        return self.handover.leaves_file

    @property
    def handing_over(self) -> bool:
        """Whether no write is ordered any more."""
        return self.ordering.is_over

    def close(self, *, clean: bool) -> Task[list[Outcome[AwaitedWrite]] | None]:
        """End the epoch: the last bytes leave, a peer takes over, and the lock is free.

        Without `clean`, or when another peer hosts already, everything is just let go.
        """
        try:
            if clean and not self.claim.deposed:
                yield from self._handover()
                self.claim.leave()
        except RendezvousError as error:  # an election follows
            log.warning("not handed over %s: %s", self._ctx, error)
        finally:
            self.claim.close()
        self.let_go()
        stopping = self._ctx.stopping
        has_handed_over = stopping and self.leaves_file
        if not has_handed_over and (self.claim.deposed or not stopping):
            return self.ordering.take_back()
        return None

    def let_go(self) -> None:
        """Drop all that is attached or waits for it; the claim is closed by its owner."""
        for session in list(self.clients.values()):
            session.channel.shut_writing()
            self.fanout.drop(session, "the record is over")
        self._joining.close()
        self._platform.drop_selector(self._selector)

    def _handover(self) -> Task[None]:
        if not self._ctx.stopping and self._step_down.successor is not None:
            yield from self.handover.to(self._step_down.successor)
            return
        yield from self._say_good_bye()
        yield from self.handover.to_anybody()
        if not self.claim.deposed and self.handover.is_last():
            self.claim.mark(is_open=False)

    def _say_good_bye(self) -> Task[None]:
        patience = self._platform.monotonic() + self._ctx.timing.close
        yield from self.round(0)
        while self._platform.monotonic() < patience and not self.claim.deposed:
            self.fanout.flush_all_soon()
            waiting = [a for a in self.clients.values() if a.channel.backlog]
            if not waiting and not self.ordering.unpushed and not self.ordering.inbox:
                return
            yield from self.round(0.05)
