"""The engine ``memory``: handles of one process share an object without files, sockets or threads.

The first handle of a name hosts. The thread that writes also orders: it compiles the update with
the host's `Sequencer` and applies the entry to every copy, so all copies are equal when `patch`
returns. When the host stops, the handle that joined next becomes host. ``clientOnly`` and
``serverOnly`` have no effect, because hosting costs nothing here.

Lock order: the group's lock first, a participant's guard second. `MemoryEngine.kick` may be called
under a guard, so it never waits for the group's lock. Work goes into the group's queue; the thread
that holds the lock drains the queue, and checks it again after it has released the lock.

A forked child starts with no group.

An interrupt (Ctrl-C) in the middle of a step ends the step where it is. Before the next one, every
copy gets the newest whole state, a new epoch begins, and the pending writes are queued again. A
write is acknowledged when all copies have it, so none that was acknowledged is lost. Only the copy
of a handle that is alone cannot be replaced: it keeps what the interrupted entry has changed, and
the write may be applied once more.
"""

from __future__ import annotations

import os
import secrets
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from ..clocks import monotonic, wall, wall_ms
from ..engine import Announce, EngineStatus
from ..errors import NotStartedError, UsageError
from ..options import Options, stated
from ..replication.codec import HEADER, decode
from ..replication.entries import Decision, Entry, SnapshotChunk
from ..replication.group_options import check_group_options, group_part
from ..replication.kinds.epoch import EpochKind
from ..replication.kinds.member import MemberKind, joining
from ..replication.membership import check_room, new_member
from ..replication.pending import PendingWrite
from ..replication.sequencer import Gap, Ordered, Sequencer
from ..replication.state import TornCopyError
from ..replication.write_concern import ConcernProgress, ResumeConcern, wanted_members
from ..runtime import native
from ..runtime.participant import Participant
from ..runtime.wakeup import Wakeup


def _nothing() -> None:
    """A step after which all copies are whole."""


class _Group:
    """The engines that share one object. Only `queue` and `drain` are called without the lock."""

    sequencer: Sequencer

    def __init__(self) -> None:
        # Reentrant, so that a release is right whether or not an interrupt prevented the acquire.
        self.lock = native.RLock()
        self.engines: tuple[MemoryEngine, ...] = ()  # the first one hosts
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
        best.participant.replica.accept_torn()  # also when it is whole: its log may not be
        for engine in self.engines:
            if engine is not best:
                engine.copy_from(best)
        self.resume()
        members = {engine.participant.id for engine in self.engines}
        for peer in best.participant.state.members.keys() - members:
            self.spread(self.sequencer.leave(peer))
        for engine in self.engines:
            if engine.participant.id not in best.participant.state.members:
                self.spread(self.sequencer.append_system(MemberKind.name, joining(engine.member)))
            if engine.is_leaving:
                self.queue(engine.leave)

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

    def spread(self, ordered: Ordered) -> None:
        """Apply an entry to every copy; the sequencer has applied it to the host's."""
        self.engines[0].participant.replica.ordered(ordered.entry)
        for engine in self.engines[1:]:
            engine.participant.apply(ordered.entry, ordered.frame[HEADER:])
        # The writer last: its outcome ends `patch`, and all handles show the write then.
        for engine in sorted(
            self.engines, key=lambda each: each.participant.id == ordered.entry.peer
        ):
            engine.participant.publish([ordered.entry])

    def order(self, engine: MemoryEngine, write: PendingWrite) -> None:
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
        if proposal.w is not None:
            self.confirm(engine, proposal.number, proposal.w)

    def confirm(self, engine: MemoryEngine, number: int, w: int | str) -> None:
        """Resolve a write concern: every copy has the entry, so it is met now or never."""
        members = len(self.engines)
        wanted = wanted_members(w, members)
        progress = ConcernProgress(number, min(members, wanted), wanted, wanted <= members)
        engine.participant.writer.reached(progress)


if "_groups" not in globals():  # `importlib.reload` keeps them
    _groups: dict[str, _Group] = {}
    os.register_at_fork(after_in_child=_groups.clear)


class MemoryEngine:
    """See `engine.Engine`; also the `engine.Uplink` of its participant."""

    def __init__(
        self,
        name: str,
        where: str,
        data: dict[str, Any],
        options: Options,
        announce: Announce,
        inherited: Participant | None = None,
    ) -> None:
        self.where = where
        self.pid = os.getpid()
        self.participant = Participant(
            secrets.token_hex(8), name, data, options, announce, wall_ms, inherited
        )
        self.participant.writer.describe_host = lambda: "the host is in this process: is it stuck?"
        self.is_ended = self.is_leaving = False
        self._group = _Group()  # `start` puts the shared one in its place
        self.since = wall()
        self._has_left = Wakeup()

    @staticmethod
    def place() -> str:
        return "memory"  # no place: groups are found by their name

    def start(self, timeout: float) -> str:
        """Join the group of this name, or found it; raises `MaxWritersError`, `OptionsError`."""
        try:
            while not self._has_joined():
                pass
            self._group.drain()
            status = self.status().status
            self.participant.announce("connected", status)
        except BaseException:
            self._end_membership()
            raise
        return status

    def _has_joined(self) -> bool:
        """Join the group of this name; False if its last engine left meanwhile."""
        name = self.participant.name
        group = self._group = _groups.setdefault(name, _Group())
        with group.lock:
            if _groups.get(name) is not group:
                return False
            options = self.participant.options
            roles, limit = list(options.peer.roles), options.network.max_writers
            self.member = new_member(self.participant.id, self.pid, roles, max_writers=limit)
            if group.engines:
                host = group.engines[0].participant
                check_group_options(host.state.options, group_part(stated(options)))
                check_room(host.state.members, self.member)
            group.run(partial(self._join, group))
            return self in group.engines  # not yet, if a torn copy was replaced first

    def _join(self, group: _Group) -> None:
        participant = self.participant
        if group.engines:
            self.copy_from(group.engines[0])
            group.engines += (self,)
            group.sequencer.attach(participant.id, 1)
        else:
            participant.bootstrap(f"{wall_ms():012x}-{participant.id}")
            group.engines = (self,)
            group.open()
        group.spread(group.sequencer.append_system(MemberKind.name, joining(self.member)))
        participant.enter_role(self, group.sequencer.last(participant.id), hosts=False)

    def copy_from(self, other: MemoryEngine) -> None:
        """Replace this copy by another one, which is at the same version or a later one."""
        self.participant.replica.drop_chunks()
        for frame in other.participant.replica.catch_up(0, 0)[1]:
            body = frame[HEADER:]
            message = decode(body)
            if isinstance(message, SnapshotChunk):
                self.participant.install(message)
            elif isinstance(message, Entry):
                self.participant.apply(message, body)

    def close_decided(self) -> None:
        """Report the outcomes that are known, so that no such write is decided once more."""
        writer, replica = self.participant.writer, self.participant.replica
        writer.complete_all(replica.published())
        for write in writer.unsent(1):
            if write.done and write.error is not None:
                replica.writes.complete(write.number, made_entry=False)

    def begin_hosting(self) -> None:
        """Note and announce that this engine has become the host."""
        self.since = wall()
        self.participant.announce("connected", "host")

    def stop(self, timeout: float) -> None:
        """Leave the group; the handle that joined next becomes host."""
        deadline = monotonic() + timeout
        # A signal handler must not wait for the write that it interrupts.
        is_inside = self.participant.writer.is_inside()
        if not is_inside:
            self.participant.writer.flush(deadline)
        self._end_membership()
        if not is_inside and self._has_left.wait(deadline - monotonic()):
            self._has_left.set()  # for the next call

    def _end_membership(self) -> None:
        self.is_leaving = True
        self._group.queue(self.leave)
        self._group.drain()

    def leave(self) -> None:
        """The step that ends the membership; may be repeated after an interrupt."""
        group, participant = self._group, self.participant
        if self not in group.engines:
            self._has_left.set()
            return
        if not self.is_ended:
            self.is_ended = True
            self.since = wall()
            participant.announce("disconnected", "stopped")
        participant.leave_role(for_good=True, holds_back=False)
        participant.end()
        try:
            was_host = group.engines[0] is self
            group.engines = tuple(engine for engine in group.engines if engine is not self)
            if not group.engines:
                del _groups[participant.name]
                return
            if was_host:
                group.resume()
            group.spread(group.sequencer.leave(participant.id))
        finally:
            self._has_left.set()

    def status(self) -> EngineStatus:
        engines = self._group.engines
        if self.is_ended or self not in engines:
            status, reason = ("stopped", "stopped") if self.is_ended else ("starting", None)
            return EngineStatus(status, self.since, reason, None)
        host = engines[0]
        facts = {
            "id": host.participant.id,
            "pid": self.pid,
            "address": "",
            "started": True,
            "connections": len(engines) - 1,
            "since": host.since,
        }
        return EngineStatus("host" if host is self else "client", self.since, None, facts)

    def ping(self, timeout: float) -> dict[str, Any]:
        """Round trips of 0 seconds: nothing leaves this process."""
        engines = self._group.engines
        if self not in engines:
            raise NotStartedError("this peer has stopped: call start() again")
        if engines[0] is not self:
            return {"connection": "client", "host": {"time": 0.0}}
        clients = [{"id": engine.participant.id, "time": 0.0} for engine in engines[1:]]
        return {"connection": "host", "host": {"time": 0.0}, "clients": clients}

    def close_after_fork(self) -> None:
        self.is_ended = True
        self.participant.close_after_fork()

    # -- the uplink (any thread) -----------------------------------------------------------------

    def queue_write(self, write: PendingWrite, encoded: bytes) -> None:
        self._group.queue(partial(self._group.order, self, write))

    def queue_resume(self, message: ResumeConcern) -> None:
        self._group.queue(partial(self._group.confirm, self, message.number, message.w))

    def kick(self, *, coalesced: bool = False) -> None:
        self._group.drain()

    def wait_for(self, write: PendingWrite, deadline: float) -> None:
        self._group.drain()

    def on_interrupt(self) -> None:
        """Queue the pending writes again: the interrupted thread may not have queued its own."""
        for write in self.participant.writer.unsent(1):
            self.queue_write(write, b"")
        self._group.drain()
