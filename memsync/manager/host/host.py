"""The host: one thread with one selector orders all writes and serves all clients.

A round of its loop reads what has arrived, orders it (`ordering`), shows it, sends it (`fanout`).
"""

from __future__ import annotations

from typing import Any

from ...errors import ProtocolError, RendezvousError
from ...replication.codec import chunk_size, frame
from ...replication.entries import Propose
from ...replication.kinds.epoch import EpochKind
from ...replication.kinds.member import MemberKind, joining
from ...replication.membership import Members, let_in, standing_by
from ...replication.outcomes import Outcome
from ...replication.pending import PendingWrite
from ...replication.state import TornCopyError
from ...replication.write_concern import ResumeConcern
from ...runtime.awaited_write import AwaitedWrite
from ...runtime.logs import Logger
from ..context import PeerContext
from ..folder.cleaning import clean
from ..platform.selector import READ, WRITE, Ready
from ..platform.spin import NO_SPIN, Spin
from ..platform.task import Select, Task
from ..transport.channel import ChannelLost
from ..transport.messages import Applied, Flush, Leave, Ping, Pong, parse
from .admission import Admission, JoiningPeers
from .claim import Deposed, EpochClaim
from .fanout import ClientSession, FanOut
from .handover import Handover
from .liveness import MemberLiveness
from .ordering import Ordering
from .round_trips import RoundTrips
from .saving import Saving
from .standbys import Standbys
from .step_down import StepDown

log = Logger("memsync.host")


class Host:
    """The host of one epoch; made when the recovery is complete."""

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
        self._has_unqueued = False  # see `on_interrupt`
        self._selector = self._platform.new_selector(ctx.waker)
        self._spin = Spin(ctx.spin)
        self._step = 0  # bytes of a long step
        self._serves = False  # a client has sent something in this round
        self.fanout = FanOut(
            ctx, self._selector, self._drop, lambda session: self.admission.catch_up(session)
        )
        self.clients = self.fanout.clients
        self._liveness = MemberLiveness(ctx, self.clients, self._leave)
        self.ordering = Ordering(ctx, claim.epoch, self.fanout, self._liveness.remove_dead)
        self.admission = Admission(ctx, claim, self.fanout, self.ordering, self._liveness)
        self.handover = Handover(ctx, claim, self.fanout, self.ordering, self.round)
        self._step_down = StepDown(ctx, self.fanout)
        self._round_trips = RoundTrips(ctx, self.fanout)
        self.saving = Saving(ctx, claim, self.fanout, self.ordering)
        self.flush = self.saving.flush
        self._standbys = Standbys(ctx, self.fanout, self.ordering, self._liveness)

    # -- opening (driver) ------------------------------------------------------------------------

    def open(self, living: set[str], granted_by: str | None, unreported: Members) -> None:
        """Begin the epoch: append its first entry, take out dead members, become a member.

        `granted_by`, the host that has granted this epoch and stops, is taken out as well. Raises
        `MaxWritersError` as `MemberLiveness.begin` does, and `Deposed`.
        """
        ctx, participant, ordering = self._ctx, self._participant, self.ordering
        own = ctx.hello().member()
        gone = self._liveness.begin(own, living, granted_by, unreported)
        self.claim.lock.mark(is_open=True)
        self.claim.check()  # last: from here on this copy differs from all others
        if self.claim.deposed:
            raise Deposed
        body = {"host": ctx.id, "pid": own["pid"], "address": self.claim.server.endpoint}
        ordering.append(EpochKind.name, body)
        for peer in gone:
            ordering.leave(peer)
            self._liveness.has_left(peer)
        if self._liveness.lacks_place(ctx.id):
            has_place = not ctx.stands_by
            since = self._platform.wall_ms() / 1000
            member = let_in(own, since) if has_place else standing_by(own)
            ordering.append(MemberKind.name, joining(member))
        writer, sequencer = participant.writer, ordering.sequencer
        for decision in sequencer.attach(
            ctx.id, writer.first_open, participant.replica.writes.first_unknown
        ):
            participant.replica.decide(decision)
        self.claim.write_rendezvous()
        # The previous host may be about to go.
        self._suspicious_until = self._platform.monotonic() + ctx.timing.suspicion
        if not self._platform.buggify("what the dead left stays"):
            clean(ctx.place.folder, self.epoch)
        participant.enter_role(self, sequencer.last(ctx.id), hosts=True)
        self.saving.start()

    # -- the loop (driver) -----------------------------------------------------------------------

    def run(self) -> Task[str]:
        """Serve until the peer stops, is deposed or steps down; returns the reason."""
        ctx = self._ctx
        writer = self._participant.writer
        now = self._platform.monotonic()
        next_check = next_repair = now + self._rhythm
        while not ctx.stopping:
            next_event = min(next_check, next_repair, self.claim.next_heartbeat)
            next_event = min(next_event, writer.next_deadline(), self._step_down.next_check)
            next_event = min(next_event, self._standbys.next_check)
            yield from self.round(max(next_event - now, 0))
            if self.claim.is_lost():
                return "deposed"
            now = self._platform.monotonic()
            writer.give_up_late(now)
            self.ordering.check_leases(now)
            if now >= next_repair:
                next_repair = now + self._rhythm
                self._participant.replica.forget_encoding()
                self.claim.tend(now)
            if now >= next_check:
                next_check = now + self._rhythm
                self._liveness.check()
            if now < self._suspicious_until:
                next_check = min(next_check, now + ctx.timing.suspicious_check)
            self._standbys.check(now)
            self._step_down.check(now, saves=self.saving.is_busy)
            if self._step_down.successor is not None:
                return self._step_down.reason
        return "stopped"

    @property
    def _rhythm(self) -> float:
        """Seconds between two checks of the folder."""
        rhythm = min(self._ctx.lease.rhythm, self.ordering.leases.rhythm)
        return min(self._ctx.options.network.poll, rhythm)

    def round(self, timeout: float) -> Task[None]:
        """Read what arrives within `timeout` seconds, order it, show it and send it."""
        now = self._platform.monotonic()
        self.claim.heartbeat(now)
        if self.claim.deposed:
            return
        ordering, fanout = self.ordering, self.fanout
        joins = len(self._joining) and not self.handover.has_granted
        if ordering.inbox or joins or ordering.resumes or ordering.reached or ordering.unannounced:
            timeout = 0
        timeout = max(min(timeout, fanout.next_push - now), 0)
        if ordering.unpushed:
            timeout = min(timeout, self._ctx.timing.stall_check)  # a client may have stalled
        self._step_down.lag.wait_begins()
        spin = self._spin if self._serves else NO_SPIN
        events: Ready = yield Select(self._selector, timeout, spin)
        self._step_down.lag.wait_ended()
        if (events or ordering.inbox) and self.claim.is_lost():
            return
        self._begin_step(self._participant.replica.writes.pending_bytes)
        self._take_in(events)
        if self._has_unqueued:
            self._has_unqueued = False
            ordering.queue_unqueued()
        ordering.order_own()
        while self._joining and not self.handover.has_granted:
            self.admission.attach(*self._joining.take())
        if self._round_trips.are_wanted:
            self._round_trips.ask()
        self.saving.send_answers()
        ordering.publish()  # first: whoever has the answer to a write finds it at the host, too
        now = self._platform.monotonic()
        has_work = fanout.has_work(now) or ordering.unpushed or ordering.reached
        if has_work and self.claim.is_lost():
            return
        ordering.report_reached()
        fanout.flush(now)
        if ordering.unpushed and not self.claim.is_lost():
            ordering.acknowledge()
        self._end_step()

    def _begin_step(self, size: int) -> None:
        """State a long step before `size` bytes of writes are handled, if that will take long."""
        if size >= self._ctx.timing.step_bytes:
            self.claim.heartbeat(self._platform.monotonic())
            self._ctx.begin_step(size)
            self._step = size

    def _end_step(self) -> None:
        if self._step:
            self.claim.heartbeat(self._platform.monotonic())
            self._ctx.end_step(self._step)
            self._step = 0

    def _take_in(self, events: Ready) -> None:
        # A loop that polled for own writes would only take the interpreter from their threads.
        self._serves = False
        for key, mask in events:
            if key.fileobj is self._ctx.waker:
                self._ctx.waker.clear()
                continue
            session = self.clients.get(key.data)
            if session is None or session.channel is not key.fileobj:
                continue
            if mask & WRITE:
                self.fanout.flush_soon(session)
            if mask & READ:
                self._receive(session)

    def _receive(self, session: ClientSession) -> None:
        self._serves = True
        self._step_down.asked()
        try:
            for body in session.channel.receive():
                self._begin_step(len(body))
                try:
                    message = parse(body)
                except MemoryError:
                    self.ordering.refuse(session, len(body))  # nothing else is that large
                    continue
                self._handle(session, message)
                if session.peer not in self.clients:
                    return
            self.ordering.refuse_skipped(session)
        except ChannelLost as error:
            self._drop(session, str(error))
        except ProtocolError as error:
            self._drop(session, f"it broke the protocol: {error}", loud=True)
        except TornCopyError:
            raise  # the role ends
        except Exception:  # the host goes on for the others, whatever one peer sends
            log.exception("a message of peer %s could not be handled", session.peer)
            self._drop(session, "its message could not be handled", loud=True)

    def _handle(self, session: ClientSession, message: object) -> None:
        if type(message) is Propose:
            self.ordering.order(session, message)
            return
        match message:
            case Ping():
                self.fanout.answer(session, frame(Pong(message.token)))
            case Pong() if message.token < 0:
                self._standbys.answered(session.peer, message.token)
            case Pong() if message.token:
                self._step_down.answered(session.peer, message.token)
            case Pong():
                self._round_trips.answered(session)
            case Flush():
                self.saving.asked(session, message)
            case Applied():
                self.ordering.applied(session.peer, message.version)
            case ResumeConcern():
                self._liveness.remove_dead()
                number, version = message.number, message.version
                w, journal = message.w, message.journal
                self.ordering.begin_watch(session.peer, number, version, w, journal)
            case Leave():
                self.fanout.flush_now()
                self._drop(session, "it left")
                self.handover.has_left(session.peer)
                self._leave(session.peer)
            case _:
                raise ProtocolError(f"a client does not send {type(message).__name__}")

    def _drop(self, session: ClientSession, reason: str, *, loud: bool = False) -> None:
        self.fanout.drop(session, reason, loud=loud)
        self._suspicious_until = self._platform.monotonic() + self._ctx.timing.suspicion

    def _leave(self, peer: str, keeps_session: bool = False) -> None:
        if self.handover.has_granted:
            return  # the successor must have all entries; it takes the dead out itself
        self._liveness.has_left(peer)
        self.ordering.leave(peer, keeps_session=keeps_session)

    # -- the uplink (any thread) -----------------------------------------------------------------

    def queue_write(self, write: PendingWrite, encoded: bytes) -> None:
        self.ordering.inbox.append(write)

    def queue_resume(self, message: ResumeConcern) -> None:
        self.ordering.resumes.append(message)

    def kick(self, *, coalesced: bool = False) -> None:
        self._ctx.waker.wake()

    def wait_for(self, write: PendingWrite, deadline: float) -> None:
        """The waiting thread cannot help: the loop decides."""

    def on_interrupt(self) -> None:
        """Let the loop find writes that the interrupted thread has numbered but not queued."""
        self._has_unqueued = True
        self._ctx.waker.wake()

    # -- questions (any thread) ------------------------------------------------------------------

    def ping(self, timeout: float) -> dict[str, Any]:
        """The round trips to all clients in seconds; None for one that did not answer in time."""
        return self._round_trips.wait(timeout)

    @property
    def storage(self) -> dict[str, Any] | None:
        return self.saving.status()

    def host_facts(self) -> dict[str, Any]:
        return {
            "id": self._ctx.id,
            "pid": self._platform.pid(),
            "address": self.claim.server.endpoint,
            "started": True,
            "connections": len(self.clients),
            "since": self.claim.since,
        }

    def describe_host(self) -> str:
        """Why an own write may get no answer."""
        return "this process is the host, and no peer takes what it sends"

    def host_survived(self) -> bool:
        """A host does not outlive its own role."""
        return False

    # -- the end ---------------------------------------------------------------------------------

    @property
    def leaves_file(self) -> bool:
        """The free file shows the others that this peer has gone; the last peer removes its own."""
        return not self.handover.was_last

    @property
    def handing_over(self) -> bool:
        return self.ordering.is_over

    def close(self, *, clean: bool) -> Task[list[Outcome[AwaitedWrite]] | None]:
        """Hand over, free the lock and drop the clients.

        There is no handover without `clean`, or after another peer has deposed this host.
        """
        try:
            if clean and not self.claim.deposed:
                yield from self._handover()
                yield from self.saving.finish()
                self.claim.remove_rendezvous()
        except (RendezvousError, OSError, TornCopyError) as error:  # an election follows
            log.warning("not handed over %s: %s", self._ctx, error)
        finally:
            self.saving.close()
            self.claim.close()
        self.release()
        if self._ctx.stopping and (self.handover.leaves or not self.claim.deposed):
            return None
        return self.ordering.take_back()

    def release(self) -> None:
        """Drop all clients and joining peers; the claim's owner closes the claim."""
        self._ctx.end_step(self._step)
        for session in list(self.clients.values()):
            session.channel.shut_writing()
            self.fanout.drop(session, "the epoch is over")
        self._joining.close()
        self._platform.drop_selector(self._selector)

    def _handover(self) -> Task[None]:
        if not self._ctx.stopping and self._step_down.successor is not None:
            yield from self.handover.to(self._step_down.successor)
            return
        if not self._ctx.stopping and self._participant.state.torn:
            yield from self.handover.to_any_client()
            return
        yield from self._flush_clients()
        yield from self.handover.to_anybody()
        if not self.claim.deposed and self.handover.is_last():
            self.claim.lock.mark(is_open=False)

    def _flush_clients(self) -> Task[None]:
        """Play rounds until all is ordered and the kernel has all bytes, for a limited time."""
        patience = self._platform.monotonic() + self._ctx.timing.close
        yield from self.round(0)
        while self._platform.monotonic() < patience and not self.claim.deposed:
            self.fanout.flush_all_soon()
            waiting = [each for each in self.clients.values() if each.channel.backlog]
            if not waiting and not self.ordering.unpushed and not self.ordering.inbox:
                return
            yield from self.round(self._ctx.timing.close_check)
