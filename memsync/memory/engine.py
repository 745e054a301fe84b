"""The engine ``memory``: handles of one process share an object through a group in memory.

The first handle of a name hosts; its sequencer orders, and every write is ordered and applied to
all copies by the thread that made it. No file, no socket and no thread is involved, so a unit test
starts in microseconds. When the host stops, the handle that joined next goes on.

Lock order: the group's lock first, a participant's guard second. `MemoryEngine.kick` may be called
under a guard, so it never waits for the group's lock: it leaves the work to the thread that holds
the lock, which looks again after it has let go.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections import deque
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
from ..runtime import forks
from ..runtime.participant import Participant


class _Group:
    """The engines that share one object of this process; the first one hosts."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.engines: list[MemoryEngine] = []
        self.sequencer: Sequencer
        self.writes: deque[tuple[MemoryEngine, PendingWrite]] = deque()
        self.resumes: deque[tuple[MemoryEngine, ResumeConcern]] = deque()

    def drain(self) -> None:
        """Order what is queued, unless another thread does; called without the lock."""
        while self.writes or self.resumes:
            if not self.lock.acquire(blocking=False):
                return  # whoever holds the lock looks again after letting go
            try:
                self.work()
            finally:
                self.lock.release()

    # Every method below is called with `lock` held.

    def open(self, host: MemoryEngine) -> None:
        """Begin the next epoch with this host."""
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
        self.append(EpochKind.name, body)
        for engine in self.engines:
            writer = engine.participant.writer
            self.sequencer.attach(engine.participant.id, writer.first_open)

    def append(self, kind: str, body: Any) -> None:
        """Append an entry of the host's own making."""
        self.spread(self.sequencer.append_system(kind, body))

    def spread(self, ordered: Ordered) -> None:
        """Apply an entry to every copy; the host's has it already."""
        host = self.engines[0].participant
        host.replica.ordered(ordered.entry)
        for engine in self.engines[1:]:
            engine.participant.apply(ordered.entry, len(ordered.frame))
        for engine in self.engines:
            engine.participant.publish([ordered.entry])

    def work(self) -> None:
        """Order what is queued."""
        while self.writes:
            engine, write = self.writes.popleft()
            if engine in self.engines and not write.done:
                self._order(engine, write)
        while self.resumes:
            engine, message = self.resumes.popleft()
            self._confirm(engine, message.number, message.w)

    def _order(self, engine: MemoryEngine, write: PendingWrite) -> None:
        peer, proposal = engine.participant.id, write.proposal
        clock = self.engines[0].participant.clock
        proposal.timestamp = clock.admit(proposal.timestamp, _wall_ms())
        result = self.sequencer.propose(peer, proposal)
        if isinstance(result, Ordered):
            self.spread(result)
        elif isinstance(result, Decision):
            engine.participant.replica.decide(result)
            engine.participant.publish([])
        elif isinstance(result, Gap):  # a thread was interrupted before it had queued them
            missing = engine.participant.writer.unsent(result.first)
            self.writes.extendleft((engine, earlier) for earlier in reversed(missing))
            return
        if proposal.w is not None:
            self._confirm(engine, proposal.number, proposal.w)

    def _confirm(self, engine: MemoryEngine, number: int, w: int | str) -> None:
        """Every copy has the entry by now, so a concern is met at once, or never."""
        members = len(self.engines)
        wanted = wanted_members(w, members)
        progress = ConcernProgress(number, min(members, wanted), wanted, wanted <= members)
        engine.participant.writer.reached(progress)


_groups: dict[str, _Group] = {}
_groups_lock = threading.Lock()


class MemoryEngine:
    """Carries the log between the handles of one process; also the uplink of its participant."""

    def __init__(
        self, name: str, where: str, data: dict[str, Any], options: Options, announce: Announce
    ) -> None:
        self.where = where
        self.pid = os.getpid()
        self.participant = Participant(
            secrets.token_hex(8), name, data, options, announce, _wall_ms
        )
        self.participant.writer.describe_host = lambda: "the host is in this process: is it stuck?"
        self._group: _Group | None = None
        self._since = time.time()
        self._reason: str | None = None
        self._has_ended = False

    @staticmethod
    def place() -> str:
        """Nowhere: the group is in this process."""
        return "memory"

    @property
    def is_ended(self) -> bool:
        """Whether it has left its group."""
        return self._has_ended

    def start(self, timeout: float) -> str:
        """Join the group of this name, or found it.

        Raises `MaxWritersError` and `OptionsError` as any engine does.
        """
        with _groups_lock:
            group = _groups.setdefault(self.participant.name, _Group())
            with group.lock:
                self._join(group)
        self._group = group
        group.drain()
        status = self.status().status
        self.participant.announce("connected", status)
        return status

    def _join(self, group: _Group) -> None:
        participant, options = self.participant, self.participant.options
        member = new_member(
            participant.id,
            self.pid,
            list(options.peer.roles),
            max_writers=options.network.max_writers,
            client_only=options.client_only,
            server_only=options.server_only,
        )
        if not group.engines:
            participant.bootstrap(f"{_wall_ms():012x}-{participant.id}")
            group.engines.append(self)
            group.open(self)
        else:
            host = group.engines[0].participant
            check_group_options(host.state.options, group_part(stated(options)))
            check_room(host.state.members, member)
            participant.replica.chunk_bytes = chunk_size(participant.writer.max_frame)
            for each in host.replica.catch_up(0, 0)[1]:
                message = decode(each[HEADER:])
                if isinstance(message, SnapshotChunk):
                    participant.install(message)
                elif isinstance(message, Entry):
                    participant.apply(message, len(each))
            group.engines.append(self)
            group.sequencer.attach(participant.id, 1)
        group.append(MemberKind.name, joining(member))
        participant.enter_role(self, group.sequencer.last(participant.id), hosts=False)

    def stop(self, timeout: float) -> None:
        """Leave the group; the handle that joined next becomes host."""
        group = self._group
        if group is None or self._has_ended:
            return
        self.participant.writer.flush(time.monotonic() + timeout)
        with _groups_lock, group.lock:
            group.work()
            self._has_ended = True
            self._leave(group)
        group.drain()
        self._since, self._reason = time.time(), "stopped"
        self.participant.leave_role(for_good=True, holds_back=False)
        self.participant.end()
        self.participant.announce("disconnected", "stopped")

    def _leave(self, group: _Group) -> None:
        hosted = group.engines[0] is self
        group.engines.remove(self)
        if not group.engines:
            del _groups[self.participant.name]
            return
        if hosted:
            group.open(group.engines[0])
        group.spread(group.sequencer.leave(self.participant.id))

    def status(self) -> EngineStatus:
        """What the peer is now."""
        group = self._group
        engines = group.engines if group is not None else []
        if self._has_ended or not engines:
            status = "stopped" if self._has_ended else "starting"
            return EngineStatus(status, self._since, self._reason, None)
        host = engines[0]
        facts = {
            "id": host.participant.id,
            "pid": self.pid,
            "address": "",
            "started": True,
            "connections": len(engines) - 1,
            "since": host._since,
        }
        status = "host" if host is self else "client"
        return EngineStatus(status, self._since, self._reason, facts)

    def ping(self, timeout: float) -> dict[str, Any]:
        """The round trips take no time: everything is in this process."""
        status = self.status()
        ping: dict[str, Any] = {"connection": status.status, "host": {"time": 0.0}}
        group = self._group
        if status.status == "host" and group is not None:
            others = [e.participant.id for e in group.engines if e is not self]
            ping["clients"] = [{"id": peer, "time": 0.0} for peer in others]
        return ping

    def close_after_fork(self) -> None:
        """In a forked child: the group belongs to the parent."""
        self._has_ended = True
        self.participant.close_after_fork()

    # -- the uplink (any thread) -----------------------------------------------------------------

    def queue_write(self, write: PendingWrite, encoded: bytes) -> None:
        """Append a proposal to the group's queue."""
        if self._group is not None:
            self._group.writes.append((self, write))

    def queue_resume(self, message: ResumeConcern) -> None:
        """Have an accepted write confirmed."""
        if self._group is not None:
            self._group.resumes.append((self, message))

    def kick(self, *, coalesced: bool = False) -> None:
        """Order what is queued, unless another thread does."""
        if self._group is not None:
            self._group.drain()

    def wait_for(self, write: PendingWrite, deadline: float) -> None:
        """`kick` has decided the write, or another thread is about to."""
        self.kick()

    def on_interrupt(self) -> None:
        """The calling thread was interrupted: order what it may have left."""
        self.kick()


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class _GroupsAfterFork(forks.Forkable):
    """Empties the groups in a forked child: they belong to the parent."""

    def after_fork(self) -> None:
        """Start with no group."""
        global _groups_lock
        _groups.clear()
        _groups_lock = threading.Lock()


_after_fork = _GroupsAfterFork()
forks.watch(_after_fork)
