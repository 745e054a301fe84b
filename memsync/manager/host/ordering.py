"""Ordering: proposals in, entries and answers out, and when a write is acknowledged.

The answer to a writer is its own entry, or follows every entry below it, in its one ordered stream.
The host acknowledges its own write once the kernel has taken the push for at least one client, if
there is any. From then on two processes hold the write.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ...replication.codec import frame
from ...replication.entries import Decision, Entry, Propose
from ...replication.kinds.lock import LockKind, asks_whether_last
from ...replication.kinds.member import MemberKind
from ...replication.lock_part import lock_part
from ...replication.outcomes import Outcome
from ...replication.pending import PendingWrite
from ...replication.sequencer import Gap, Ordered, Sequencer
from ...replication.state import TornCopyError
from ...replication.write_concern import ConcernProgress, ResumeConcern, WriteConcerns
from ...runtime.awaited_write import AwaitedWrite
from ...runtime.trace import facts_of, refusal
from ...storage.journal import Journal
from ..context import PeerContext
from ..transport.messages import Confirm, Resend
from .fanout import ClientSession, FanOut, Mark
from .lock_leases import LockLeases

_SERVING = frozenset({LockKind.name, MemberKind.name})  # kinds that may end waits for locks


class Ordering:
    """The sequencer of one epoch between the host's loop and the fan-out (driver only).

    `remove_dead` takes dead members out of the group. It is called before a write with a concern
    is ordered, because the members at that moment count for the concern.
    """

    def __init__(
        self,
        ctx: PeerContext,
        epoch: int,
        fanout: FanOut,
        remove_dead: Callable[[], None],
    ) -> None:
        participant = ctx.participant
        self.is_over = False  # no more writes are ordered
        self.sequencer = Sequencer(
            participant.state,
            participant.log,
            participant.clock,
            host=ctx.id,
            epoch=epoch,
            max_frame=participant.writer.max_frame,
        )
        self.concerns = WriteConcerns(ctx.id)
        self.inbox: deque[PendingWrite] = deque()  # own writes, from any thread
        self.resumes: deque[ResumeConcern] = deque()  # own accepted writes, from any thread
        self.unpushed: deque[tuple[list[Outcome[AwaitedWrite]], dict[str, Mark]]] = deque()
        self.reached: deque[ConcernProgress] = deque()  # of own writes, until `report_reached`
        self._ctx = ctx
        self._participant = participant
        self._platform = ctx.platform
        self._fanout = fanout
        self._remove_dead = remove_dead
        self._trace = participant.trace
        self.unannounced: list[Entry] = []  # until `publish`
        self.journal: Journal | None = None
        self.leases = LockLeases(ctx, fanout.clients, fanout.answer, self.append)

    def end(self) -> None:
        """Order no more writes; those that arrive stay pending for the next host."""
        self.is_over = True

    # -- entries ---------------------------------------------------------------------------------

    def append(self, kind: str, body: Any) -> None:
        """Append a system entry, and push it."""
        self._push(self.sequencer.append_system(kind, body))

    def leave(self, peer: str, *, keeps_session: bool = False) -> None:
        self._push(self.sequencer.leave(peer, keeps_session=keeps_session))
        for writer, progress in self.concerns.forget(peer):
            self._inform(writer, progress)

    def _serve(self) -> None:
        """Send what the last entry has granted at once: threads wait for it as for an answer."""
        for peer in lock_part(self._participant.state).served:
            if peer in self._fanout.clients:
                self._fanout.flush_soon(self._fanout.clients[peer])

    def check_leases(self, now: float) -> None:
        """End the locks of frozen holders that have a lease (monotonic seconds)."""
        if not self.is_over:
            self.leases.check(now)

    def _push(self, ordered: Ordered) -> None:
        try:
            if self._trace is not None:
                self._trace("ordered", **facts_of(ordered.entry, self._participant.state.members))
            if self.journal is not None:
                self.journal.append(ordered.frame)
            self._fanout.push(ordered.frame)
            if ordered.entry.kind in _SERVING:
                self._serve()
            self.unannounced.append(ordered.entry)
            self._participant.replica.ordered(ordered.entry)
        except Exception as error:  # the entry is in this copy, and perhaps in no other
            self._participant.state.tear()
            raise TornCopyError(f"version {ordered.entry.version} was not pushed") from error

    # -- proposals -------------------------------------------------------------------------------

    def order(self, session: ClientSession, proposal: Propose) -> None:
        """Decide a proposal of an attached peer, and queue the answer."""
        if self.is_over:
            return  # it stays pending, and its writer sends it to the next host
        clock = self._participant.clock
        proposal.timestamp = clock.admit(proposal.timestamp, self._platform.wall_ms())
        result = self._propose(session.peer, proposal)
        if isinstance(result, Ordered):
            self._push(result)
            self._fanout.flush_soon(session)
        elif isinstance(result, Gap):
            self._fanout.answer(session, frame(Resend(result.first)))
        elif not session.is_slow:
            self._fanout.answer(session, frame(result))
        if proposal.w is not None or proposal.journal:
            self._watch(session.peer, proposal, result)

    def refuse(self, session: ClientSession, size: int) -> None:
        """Refuse the next proposal of an attached peer, which this process had no room to read."""
        if not self.is_over:
            self._fanout.answer(session, frame(self.sequencer.refuse_unread(session.peer, size)))

    def refuse_skipped(self, session: ClientSession) -> None:
        """Refuse the proposal that the channel of a peer has skipped, if any."""
        size = session.channel.pop_skipped()
        if size:
            self.refuse(session, size)

    def order_own(self) -> None:
        """Decide the queued writes of the host itself."""
        while self.inbox:
            self._order_own(self.inbox.popleft())
        while self.resumes:
            self._remove_dead()
            each = self.resumes.popleft()
            self.begin_watch(self._ctx.id, each.number, each.version, each.w, each.journal)

    def queue_unqueued(self) -> None:
        """Queue the own writes that an interrupted thread has numbered but not queued."""
        self.inbox.extend(self._participant.writer.unsent(self.sequencer.last(self._ctx.id) + 1))

    def _order_own(self, write: PendingWrite) -> None:
        if self.is_over:
            return  # it stays pending, and its outcome becomes unknown
        peer, proposal = self._ctx.id, write.proposal
        if proposal.number <= self.sequencer.last(peer):
            return  # it was queued twice, because its thread was interrupted
        result = self._propose(peer, proposal)
        if isinstance(result, Gap):
            missing = self._participant.writer.unsent(result.first)
            self.inbox.extend(earlier for earlier in missing if not earlier.done)
            return
        if isinstance(result, Ordered):
            self._push(result)
        else:
            self._participant.replica.decide(result)
        if proposal.w is not None or proposal.journal:
            self._watch(peer, proposal, result)

    def _propose(self, peer: str, proposal: Propose) -> Ordered | Decision | Gap:
        if proposal.w is not None:
            self._remove_dead()
        result: Ordered | Decision | Gap
        try:
            if proposal.kind == LockKind.name and asks_whether_last(proposal.body):
                self._remove_all_dead()
            result = self.sequencer.propose(peer, proposal)
        except TornCopyError:
            raise
        except Exception as error:  # nothing has happened, and another try would fail as well
            result = self.sequencer.refuse(peer, proposal.number, error)
        if self._trace is not None and not isinstance(result, Ordered):
            members = self._participant.state.members
            self._trace("not ordered", **refusal(peer, proposal, result, members))
        return result

    def _remove_all_dead(self) -> None:
        """Take out the dead, also those of whose connection nobody has read the end yet."""
        is_alive = self._ctx.place.folder.is_alive
        for session in list(self._fanout.clients.values()):
            if is_alive(session.peer) is False:
                self._fanout.drop(session, "its process has ended")
        self._remove_dead()

    # -- write concerns --------------------------------------------------------------------------

    def _watch(self, writer: str, proposal: Propose, result: Ordered | Decision | Gap) -> None:
        """Watch an accepted write that has a write concern."""
        if isinstance(result, Gap):
            return
        if isinstance(result, Ordered):
            version = result.entry.version
        elif result.error is None:
            version = result.version
        else:
            return
        self.begin_watch(writer, proposal.number, version, proposal.w, proposal.journal)

    def begin_watch(
        self, writer: str, number: int, version: int, w: int | str | None, journal: bool
    ) -> None:
        """Watch an accepted write until its concern is met."""
        members = self._participant.state.members
        self._inform(writer, self.concerns.track(writer, number, version, w, journal, members))
        if journal and self.journal is not None:
            self.journal.want(version)
        if w not in (None, 1):
            self._fanout.push(frame(Confirm()))  # slow peers are asked after they have caught up
            self._fanout.flush_all_soon()

    def durable(self, version: int) -> None:
        """All up to a version is on the disk."""
        for writer, progress in self.concerns.durable(version):
            self._inform(writer, progress)

    def applied(self, peer: str, version: int) -> None:
        for writer, progress in self.concerns.applied(peer, version):
            self._inform(writer, progress)

    def _inform(self, writer: str, progress: ConcernProgress) -> None:
        """Report the progress of a concern to the writer."""
        if writer == self._ctx.id:
            self.reached.append(progress)
        elif writer in self._fanout.clients:
            self._fanout.answer(self._fanout.clients[writer], frame(progress))

    # -- outcomes of own writes -------------------------------------------------------------------

    def publish(self) -> None:
        """Show what was ordered; `acknowledge` completes the accepted own writes."""
        participant, writer = self._participant, self._participant.writer
        published = participant.replica.publish()
        if self.unannounced:
            batch, self.unannounced = self.unannounced, []
            participant.announce_entries(batch)
        if published.forgotten or published.replaced:
            writer.report_lost(published)
        accepted = []
        for outcome in (*writer.pop_held(), *published.outcomes):
            if outcome.error is not None or outcome.write.has_write_concern:
                writer.complete([outcome])  # a concern does not depend on the push
            else:
                accepted.append(outcome)
        if accepted:
            self.unpushed.append((accepted, self._fanout.marks()))
            self._fanout.flush_one_soon()
        participant.replica.advance(published)

    def report_reached(self) -> None:
        """Report the progress of concerns to the own writes."""
        while self.reached:
            self._participant.writer.reached(self.reached.popleft())

    def acknowledge(self) -> None:
        """Complete the own writes that some client's kernel has."""
        while self.unpushed:
            accepted, marks = self.unpushed[0]
            if not self._fanout.is_pushed(marks):
                self._fanout.flush_all_soon()
                return
            self.unpushed.popleft()
            self._participant.writer.complete(accepted)

    def take_back(self) -> list[Outcome[AwaitedWrite]]:
        """The own writes that were ordered but not acknowledged before the epoch ended."""
        held = self._participant.writer.stop_holding_back()
        return [*(outcome for accepted, _ in self.unpushed for outcome in accepted), *held]
