"""The engine ``memory``: handles of one process share an object without files, sockets or threads.

The first handle of a name hosts. The thread that writes also orders: it compiles the update with
the host's `Sequencer` and applies the entry to every copy, so all copies are equal when `patch`
returns. When the host stops, the handle that joined next becomes host. ``clientOnly`` and
``serverOnly`` have no effect, because hosting costs nothing here.

Lock order: the group's lock first, a participant's guard second. `MemoryEngine.kick` may be called
under a guard, so it never waits for the group's lock. Work goes into the group's queue; the thread
that holds the lock drains the queue, and checks it again after it has released the lock.

A forked child starts with no group. An interrupt (Ctrl-C) in the middle of a step leaves the step
in the queue, but may leave a copy half changed: the local engine survives that, this one does not.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from ..engine import Announce, EngineStatus
from ..options import Options, stated
from ..replication.codec import HEADER, chunk_size, decode
from ..replication.entries import Decision, Entry, SnapshotChunk
from ..replication.group_options import check_group_options, group_part
from ..replication.kinds.epoch import EpochKind
from ..replication.kinds.member import MemberKind, joining
from ..replication.membership import check_room, new_member
from ..replication.pending import PendingWrite
from ..replication.sequencer import Gap, Ordered, Sequencer
from ..replication.write_concern import ConcernProgress, ResumeConcern, wanted_members
from ..runtime.participant import Participant


class _Group:
    """The engines that share one object. Only `queue` and `drain` are called without the lock."""

    sequencer: Sequencer

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.engines: tuple[MemoryEngine, ...] = ()  # the first one hosts
        self._steps: deque[Callable[[], None]] = deque()

    def queue(self, step: Callable[[], None]) -> None:
        """Have `step` run by the next `drain`."""
        self._steps.append(step)

    def drain(self) -> None:
        """Run the queued steps; returns at once while another thread runs them."""
        while self._steps:
            if not self.lock.acquire(blocking=False):
                return  # the holder of the lock checks the queue after the release
            try:
                while self._steps:
                    self._steps[0]()
                    self._steps.popleft()
            finally:
                self.lock.release()

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
            self.sequencer.attach(engine.participant.id, engine.participant.writer.first_open)

    def spread(self, ordered: Ordered) -> None:
        """Apply an entry to every copy; the sequencer has applied it to the host's."""
        self.engines[0].participant.replica.ordered(ordered.entry)
        for engine in self.engines[1:]:
            engine.participant.apply(ordered.entry, len(ordered.frame))
        for engine in self.engines:
            engine.participant.publish([ordered.entry])

    def order(self, engine: MemoryEngine, write: PendingWrite) -> None:
        """Decide a write of an engine that has not left."""
        if engine not in self.engines:
            return
        participant, proposal = engine.participant, write.proposal
        clock = self.engines[0].participant.clock
        proposal.timestamp = clock.admit(proposal.timestamp, _wall_ms())
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


_groups: dict[str, _Group] = {}
os.register_at_fork(after_in_child=_groups.clear)


class MemoryEngine:
    """See `engine.Engine`; also the `engine.Uplink` of its participant."""

    def __init__(
        self, name: str, where: str, data: dict[str, Any], options: Options, announce: Announce
    ) -> None:
        self.where = where
        self.pid = os.getpid()
        self.participant = Participant(
            secrets.token_hex(8), name, data, options, announce, _wall_ms
        )
        self.participant.writer.describe_host = lambda: "the host is in this process: is it stuck?"
        self.is_ended = False
        self._group = _Group()  # `start` puts the shared one in its place
        self._since = time.time()
        self._has_left = threading.Event()

    @staticmethod
    def place() -> str:
        return "memory"  # no place: groups are found by their name

    def start(self, timeout: float) -> str:
        """Join the group of this name, or found it; raises `MaxWritersError`, `OptionsError`."""
        name = self.participant.name
        while True:
            group = _groups.setdefault(name, _Group())
            with group.lock:
                if _groups.get(name) is not group:
                    continue  # its last engine left while this thread waited for the lock
                self._group = group
                self._join(group)
                break
        group.drain()
        status = self.status().status
        self.participant.announce("connected", status)
        return status

    def _join(self, group: _Group) -> None:
        participant, options = self.participant, self.participant.options
        limit = options.network.max_writers
        member = new_member(participant.id, self.pid, list(options.peer.roles), max_writers=limit)
        if group.engines:
            host = group.engines[0].participant
            check_group_options(host.state.options, group_part(stated(options)))
            check_room(host.state.members, member)
            participant.replica.chunk_bytes = chunk_size(participant.writer.max_frame)
            for frame in host.replica.catch_up(0, 0)[1]:
                message = decode(frame[HEADER:])
                if isinstance(message, SnapshotChunk):
                    participant.install(message)
                elif isinstance(message, Entry):
                    participant.apply(message, len(frame))
            group.engines += (self,)
            group.sequencer.attach(participant.id, 1)
        else:
            participant.bootstrap(f"{_wall_ms():012x}-{participant.id}")
            group.engines = (self,)
            group.open()
        group.spread(group.sequencer.append_system(MemberKind.name, joining(member)))
        participant.enter_role(self, group.sequencer.last(participant.id), hosts=False)

    def stop(self, timeout: float) -> None:
        """Leave the group; the handle that joined next becomes host."""
        deadline = time.monotonic() + timeout
        # A signal handler must not wait for the write that it interrupts.
        is_inside = self.participant.writer.is_inside()
        if not is_inside:
            self.participant.writer.flush(deadline)
        self._group.queue(self._leave)
        self._group.drain()
        if not is_inside:
            self._has_left.wait(max(deadline - time.monotonic(), 0))

    def _leave(self) -> None:
        group, participant = self._group, self.participant
        if self not in group.engines:
            return
        self.is_ended = True
        self._since = time.time()
        was_host = group.engines[0] is self
        group.engines = tuple(engine for engine in group.engines if engine is not self)
        if group.engines:
            if was_host:
                self._hand_over(group)
            group.spread(group.sequencer.leave(participant.id))
        else:
            del _groups[participant.name]
        participant.leave_role(for_good=True, holds_back=False)
        participant.end()
        participant.announce("disconnected", "stopped")
        self._has_left.set()

    @staticmethod
    def _hand_over(group: _Group) -> None:
        group.open()
        for engine in group.engines:
            last = group.sequencer.last(engine.participant.id)
            engine.participant.enter_role(engine, last, hosts=False)
        host = group.engines[0]
        host._since = time.time()
        host.participant.announce("connected", "host")

    def status(self) -> EngineStatus:
        engines = self._group.engines
        if self.is_ended or self not in engines:
            status, reason = ("stopped", "stopped") if self.is_ended else ("starting", None)
            return EngineStatus(status, self._since, reason, None)
        host = engines[0]
        facts = {
            "id": host.participant.id,
            "pid": self.pid,
            "address": "",
            "started": True,
            "connections": len(engines) - 1,
            "since": host._since,
        }
        return EngineStatus("host" if host is self else "client", self._since, None, facts)

    def ping(self, timeout: float) -> dict[str, Any]:
        """Round trips of 0 seconds: nothing leaves this process."""
        engines = self._group.engines
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


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
