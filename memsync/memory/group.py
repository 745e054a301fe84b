"""The engines of one process that share an object, and the steps that change it.

Lock order: the group's lock first, a participant's guard second. `MemoryEngine.kick` may be called
under a guard, so it never waits for the group's lock. Work goes into the group's queue; the thread
that holds the lock drains the queue, and checks it again after it has released the lock.

An interrupt (Ctrl-C) in the middle of a step ends the step where it is. Before the next one, every
copy gets the newest whole state, a new epoch begins, and the pending writes are queued again. A
write is acknowledged when all copies have it, so none that was acknowledged is lost. Only the copy
of a handle that is alone cannot be replaced: it keeps what the interrupted entry has changed, and
the write may be applied once more.

Standbys (``onMaxWriters: wait``) are let in as they have joined, once there is room.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from ..clocks import wall, wall_ms
from ..engine import Uplink
from ..errors import MaxWritersError, UsageError
from ..replication.codec import HEADER
from ..replication.entries import Decision
from ..replication.kinds.epoch import EpochKind
from ..replication.kinds.member import MemberKind, joining
from ..replication.membership import check_room, let_in, standing_by, stands_by
from ..replication.pending import PendingWrite
from ..replication.sequencer import Gap, Ordered, Sequencer
from ..replication.state import TornCopyError
from ..replication.write_concern import ConcernProgress, wanted_members
from ..runtime import native
from ..runtime.participant import Participant
from .saving import GroupSaving


class Member(Uplink, Protocol):
    """An engine of the group, as the group uses it."""

    participant: Participant
    pid: int
    since: float
    is_leaving: bool
    member: dict[str, Any]  # with the roles that it wants

    def close_decided(self) -> None:
        """Report the outcomes that are known."""

    def copy_from(self, other: Member) -> None:
        """Replace this copy by another one."""

    def begin_hosting(self) -> None:
        """It has become the host."""

    def leave(self) -> None:
        """The step that ends the membership."""


def _nothing() -> None:
    """A step after which all copies are whole."""


class Group:
    """The engines that share one object. Only `queue` and `drain` are called without the lock."""

    sequencer: Sequencer

    def __init__(self) -> None:
        # Reentrant, so that a release is right whether or not an interrupt prevented the acquire.
        self.lock = native.RLock()
        self.saving = GroupSaving()
        self.engines: tuple[Member, ...] = ()  # the first one hosts
        self.durable_version = 0  # what the journal has on the disk
        self._unjournalled: list[Callable[[], None]] = []  # what waits for it
        self._steps: deque[Callable[[], None]] = deque()
        self._is_running = False  # seen by the thread that has the lock, so by a signal handler
        self._is_whole = True  # False once a step was interrupted

    def queue(self, step: Callable[[], None]) -> None:
        """Have `step` run by the next `drain`."""
        self._steps.append(step)

    def drain(self) -> None:
        """Run the queued steps; returns at once while another thread runs them."""
        had_lock = self.lock._is_owned()  # type: ignore[attr-defined]
        try:
            self._drain()
        except BaseException:  # for example KeyboardInterrupt
            while not had_lock and self.lock._is_owned():  # type: ignore[attr-defined]
                self.lock.release()
            self.queue(_nothing)  # the next step heals the copies, for which readers wait
            self._drain()  # other threads wait for the rest of the queue
            raise

    def _drain(self) -> None:
        while self._steps:
            try:
                if not self.lock.acquire(blocking=False) or self._is_running:
                    return  # whoever runs steps checks the queue afterwards
                while self._steps:
                    self.run(self._next_step)
            finally:
                # Nothing is called before `release`: an interrupt there would keep the lock.
                try:  # noqa: SIM105
                    self.lock.release()
                except RuntimeError:
                    pass  # another thread has the lock

    def _next_step(self) -> None:
        self._steps.popleft()()

    def run(self, step: Callable[[], None]) -> None:
        """Run a step now; the lock is held. Raises `UsageError` in the middle of another step."""
        if self._is_running:
            raise UsageError("a signal handler cannot start a handle of the object that it delays")
        self._is_running = True
        try:
            if not self._is_whole:
                self._heal()
            self._is_whole = False
            step()
            self._is_whole = True
        except TornCopyError as error:
            self._replace_torn(error)
        finally:
            self._is_running = False

    def _replace_torn(self, error: TornCopyError) -> None:
        for engine in self.engines:
            if engine.participant.state.torn:
                engine.participant.tear(error)
        self._heal()
        self._is_whole = True

    def _heal(self) -> None:
        """After an interrupted or failed step: make all copies equal, and queue what is undone."""
        if not self.engines:
            return
        best = max(self.engines, key=lambda engine: engine.participant.replica.pair)  # not torn
        for engine in self.engines:
            engine.close_decided()
        best.participant.replica.restart()  # also when it is whole: its log may not be
        for engine in self.engines:
            if engine is not best:
                engine.copy_from(best)
        self.resume()
        members = {engine.participant.id for engine in self.engines}
        for peer in best.participant.state.members.keys() - members:
            self.spread(self.sequencer.leave(peer))
        for engine in self.engines:
            if engine.participant.id not in best.participant.state.members:
                self.add_member(engine)
            if engine.is_leaving:
                self.queue(engine.leave)
        self.let_in_standbys()

    def open(self) -> None:
        """Begin the next epoch, with the first engine as its host."""
        host = self.engines[0]
        participant = host.participant
        participant.adopt_group_options()
        self.sequencer = Sequencer(
            participant.state,
            participant.log,
            participant.clock,
            host=participant.id,
            epoch=participant.state.epoch + 1,
            max_frame=participant.writer.max_frame,
        )
        body = {"host": participant.id, "pid": host.pid, "address": ""}
        self.spread(self.sequencer.append_system(EpochKind.name, body))
        for engine in self.engines:
            peer, writes = engine.participant.id, engine.participant.replica.writes
            self.sequencer.attach(peer, writes.first_open, writes.first_unknown)
        epoch = participant.state.epoch

        def durable(version: int) -> None:
            self.queue(partial(self.durable, epoch, version))
            self.drain()

        self.durable_version = 0
        self.saving.begin(participant, partial(self.is_hosted, host, epoch), durable)

    def is_hosted(self, host: Member, epoch: int) -> bool:
        """Whether an engine is still the host of an epoch (any thread)."""
        return self.engines[:1] == (host,) and self.sequencer.epoch == epoch

    def durable(self, epoch: int, version: int) -> None:
        """All entries up to a version are on the disk: confirm the writes that waited."""
        if epoch != self.sequencer.epoch:
            return
        self.durable_version = version
        waiting, self._unjournalled = self._unjournalled, []
        for confirm in waiting:
            confirm()

    def resume(self) -> None:
        """Go on with the first engine as host: begin an epoch, in which pending writes are sent."""
        host = self.engines[0]
        is_new = host.participant.state.host != host.participant.id
        self.open()
        for engine in self.engines:
            last = self.sequencer.last(engine.participant.id)
            engine.participant.enter_role(engine, last, hosts=False)
        if is_new:
            host.begin_hosting()

    def add_member(self, engine: Member) -> None:
        """Make an engine a member; one that waits for a place stands by, and may be let in."""
        standby = engine.participant.standby
        waits = standby is not None and not standby.is_over
        member = standing_by(engine.member) if waits else let_in(engine.member, wall())
        self.spread(self.sequencer.append_system(MemberKind.name, joining(member)))
        self.let_in_standbys()

    def let_in_standbys(self) -> None:
        """Let in those that stand by, as they have joined, while there is room."""
        for member in list(self.sequencer.state.members.values()):
            if not stands_by(member):
                continue
            with_place = let_in(member, wall())
            try:
                check_room(self.sequencer.state.members, with_place)
            except MaxWritersError:
                continue
            self.spread(self.sequencer.append_system(MemberKind.name, joining(with_place)))

    def spread(self, ordered: Ordered) -> None:
        """Apply an entry to every copy; the sequencer has applied it to the host's."""
        self.saving.append(ordered.frame)
        self.engines[0].participant.replica.ordered(ordered.entry)
        for engine in self.engines[1:]:
            engine.participant.apply(ordered.entry, ordered.frame[HEADER:])
        # The writer last: its outcome ends `patch`, and all handles show the write then.
        for engine in sorted(
            self.engines, key=lambda each: each.participant.id == ordered.entry.peer
        ):
            engine.participant.publish([ordered.entry])

    def order(self, engine: Member, write: PendingWrite) -> None:
        """Decide a write of an engine that has not left."""
        if engine not in self.engines:
            return
        participant, proposal = engine.participant, write.proposal
        clock = self.engines[0].participant.clock
        proposal.timestamp = clock.admit(proposal.timestamp, wall_ms())
        result = self.sequencer.propose(participant.id, proposal)
        if isinstance(result, Gap):  # a thread was interrupted before it queued its write
            for missing in participant.writer.unsent(result.first):
                self.order(engine, missing)
            return
        if isinstance(result, Decision):
            participant.replica.decide(result)
            participant.publish([])
        else:
            self.spread(result)
        refused = isinstance(result, Decision) and result.error is not None
        if (proposal.w is not None or proposal.journal) and not refused:
            version = result.entry.version if isinstance(result, Ordered) else result.version
            self.confirm(engine, proposal.number, version, proposal.w or 1, proposal.journal)

    def confirm(
        self, engine: Member, number: int, version: int, w: int | str, journal: bool
    ) -> None:
        """Resolve a write concern: every copy has the entry, so but for the journal it is met."""
        if journal and version > self.durable_version:
            self._unjournalled.append(partial(self.confirm, engine, number, version, w, journal))
            self.saving.want(version)
            return
        members = len(self.engines)
        wanted = wanted_members(w, members)
        progress = ConcernProgress(number, min(members, wanted), wanted, wanted <= members)
        engine.participant.writer.reached(progress)
