"""The engine ``memory``: handles of one process share an object without files, sockets or threads.

The first handle of a name hosts. The thread that writes also orders: it compiles the update with
the host's `Sequencer` and applies the entry to every copy, so all copies are equal when `patch`
returns. When the host stops, the handle that joined next becomes host. ``clientOnly`` and
``serverOnly`` have no effect, because hosting costs nothing here.

A forked child starts with no group.
"""

from __future__ import annotations

import os
import secrets
from functools import partial
from typing import Any

from ..clocks import monotonic, wall, wall_ms
from ..engine import Announce, EngineStatus
from ..errors import NotStartedError
from ..options import Options, stated
from ..replication.codec import HEADER, decode
from ..replication.entries import Entry, SnapshotChunk
from ..replication.group_options import check_group_options, group_part
from ..replication.membership import check_room, new_member
from ..replication.pending import PendingWrite
from ..replication.write_concern import ResumeConcern
from ..runtime.participant import Participant
from ..runtime.standby import FirstRole
from ..runtime.wakeup import Wakeup
from ..storage.loading import load
from .group import Group, Member

if "_groups" not in globals():  # `importlib.reload` keeps them
    _groups: dict[str, Group] = {}
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
        self._group = Group()  # `start` puts the shared one in its place
        self.since = wall()
        self._has_left = Wakeup()
        self._first = FirstRole()
        self._last_storage: dict[str, Any] | None = None  # after the last save of the group
        if self.participant.standby is not None:
            self.participant.standby.may_begin = self._first.take
            self.participant.standby.began = self._take_place

    @staticmethod
    def place() -> str:
        return "memory"  # no place: groups are found by their name

    def start(self, timeout: float) -> str:
        """Join the group of this name, or found it; raises `MaxWritersError`, `OptionsError`."""
        try:
            while not self._has_joined():
                pass
            self._group.drain()
            if self.participant.standby is None:
                self._take_place()
            self._first.has_stood_by = True
            self._first.wait(self.participant.standby, self.participant.members, timeout)
            return self._first.role(self.participant.name)
        except BaseException:
            self._end_membership()
            raise

    def _take_place(self) -> None:
        """It has joined, and has its place: `start` returns."""
        self.since = wall()
        engines = self._group.engines
        role = "host" if engines and engines[0] is self else "client"
        self._first.begin(role)
        self.participant.announce("connected", role)

    def _has_joined(self) -> bool:
        """Join the group of this name; False if its last engine left meanwhile."""
        name = self.participant.name
        group = self._group = _groups.setdefault(name, Group())
        with group.lock:
            if _groups.get(name) is not group:
                return False
            options = self.participant.options
            roles, limit = list(options.peer.roles), options.network.max_writers
            self.member = new_member(self.participant.id, self.pid, roles, max_writers=limit)
            if group.engines:
                host = group.engines[0].participant
                check_group_options(host.state.options, group_part(stated(options)))
                if self.participant.standby is None:
                    check_room(host.state.members, self.member)
            group.run(partial(self._join, group))
            return self in group.engines  # not yet, if a torn copy was replaced first

    def _join(self, group: Group) -> None:
        participant = self.participant
        if group.engines:
            self.copy_from(group.engines[0])
            group.engines += (self,)
            group.sequencer.attach(participant.id, 1)
        else:
            participant.bootstrap(f"{wall_ms():012x}-{participant.id}", *load(participant)[:2])
            group.engines = (self,)
            group.open()
        group.add_member(self)
        participant.enter_role(self, group.sequencer.last(participant.id), hosts=False)

    def copy_from(self, other: Member) -> None:
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

    def stop(self, timeout: float, last_save: float = 0.0) -> None:
        """Leave the group; the handle that joined next becomes host."""
        deadline = monotonic() + timeout
        # A signal handler must not wait for the write that it interrupts.
        is_inside = self.participant.writer.is_inside()
        if not is_inside:
            self.participant.writer.flush(deadline)
        self._end_membership()
        if not is_inside and self._has_left.wait(deadline + last_save - monotonic()):
            self._has_left.set()  # for the next call

    def _end_membership(self) -> None:
        self.is_leaving = True
        self._group.queue(self.leave)
        self._group.drain()

    def leave(self) -> None:
        """The step that ends the membership; may be repeated after an interrupt."""
        group, participant = self._group, self.participant
        if self not in group.engines:
            self._first.end()
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
            if len(group.engines) == 1:
                group.saving.finish(participant.options.timeout)
                self._last_storage = group.saving.status()
            group.engines = tuple(engine for engine in group.engines if engine is not self)
            if not group.engines:
                del _groups[participant.name]
                return
            if was_host:
                group.resume()
            group.spread(group.sequencer.leave(participant.id))
            group.let_in_standbys()
        finally:
            self._first.end()
            self._has_left.set()

    def status(self) -> EngineStatus:
        engines = self._group.engines
        if self.is_ended or self not in engines:
            status, reason = ("stopped", "stopped") if self.is_ended else ("starting", None)
            return EngineStatus(status, self.since, reason, None, storage=self._last_storage)
        host = engines[0]
        facts = {
            "id": host.participant.id,
            "pid": self.pid,
            "address": "",
            "started": True,
            "connections": len(engines) - 1,
            "since": host.since,
        }
        role, waits = "host" if host is self else "client", self.participant.stands_by()
        storage = self._group.saving.status() if host is self else None
        status = "starting" if waits else role
        return EngineStatus(status, self.since, waits, facts, storage=storage)

    def ping(self, timeout: float) -> dict[str, Any]:
        """Round trips of 0 seconds: nothing leaves this process."""
        engines = self._group.engines
        if self not in engines:
            raise NotStartedError("this peer has stopped: call start() again")
        if engines[0] is not self:
            return {"connection": "client", "host": {"time": 0.0}}
        clients = [{"id": engine.participant.id, "time": 0.0} for engine in engines[1:]]
        return {"connection": "host", "host": {"time": 0.0}, "clients": clients}

    def flush(self, timeout: float) -> None:
        """See `MemSync.flush`."""
        self._group.saving.flush(timeout)

    def close_after_fork(self) -> None:
        self.is_ended = True
        self.participant.close_after_fork()

    # -- the uplink (any thread) -----------------------------------------------------------------

    def queue_write(self, write: PendingWrite, encoded: bytes) -> None:
        self._group.queue(partial(self._group.order, self, write))

    def queue_resume(self, message: ResumeConcern) -> None:
        number, version = message.number, message.version
        w, journal = message.w, message.journal
        self._group.queue(partial(self._group.confirm, self, number, version, w, journal))

    def kick(self, *, coalesced: bool = False) -> None:
        self._group.drain()

    def wait_for(self, write: PendingWrite, deadline: float) -> None:
        self._group.drain()

    def on_interrupt(self) -> None:
        """Queue the pending writes again: the interrupted thread may not have queued its own."""
        for write in self.participant.writer.unsent(1):
            self.queue_write(write, b"")
        self._group.drain()
