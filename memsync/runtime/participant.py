"""One peer's copy of the object, and the methods through which an engine changes it.

The *participant* is the part of a peer that does not depend on how the log is carried: the state,
the log of recent entries, the view that programs read, the writer, the waiting threads. The engine
thread that plays the peer's role calls `apply` for entries, `install` for snapshots, `publish` to
show them, and `enter_role` and `leave_role` when the destination of writes changes.

The participant's `guard` is held for no callback and for no call that blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ..clocks import monotonic
from ..document import ReadOnlyDict, foreign_places, note_sizes
from ..engine import Announce, Uplink
from ..errors import MemSyncError
from ..options import Options, stated
from ..replication.clock import HybridClock
from ..replication.compile_proposal import value_at
from ..replication.entries import Entry, SnapshotChunk
from ..replication.group_options import check_group_options, group_part, group_value
from ..replication.kinds import KINDS
from ..replication.kinds.method import MethodKind, MethodPart
from ..replication.kinds.patch import PatchKind
from ..replication.log import Log
from ..replication.membership import Members
from ..replication.pending import PendingWrites
from ..replication.replica import Replica
from ..replication.state import State
from .announcer import Announcer
from .awaited_write import AwaitedWrite
from .entry_waiters import EntryWaiters
from .large_object import Freezer
from .logs import Logger
from .native import RLock
from .standby import Standby
from .trace import facts_of, new_trace
from .view_waiters import ViewWaiters
from .writer import Writer

TResult = TypeVar("TResult")

log = Logger("memsync.node")


class Participant:
    """One peer from `start` to `stop`; a new start is a new participant with a new id.

    `announce` is called with the name and the argument of each event of `MemSync.on`, as
    `engine.Announce` says, and must not block. `wall_ms` returns the wall time in milliseconds
    since 1970.

    In a forked child, a participant may take over the view of the parent's participant, which is
    `inherited`: the containers stay the same objects, and show the new state once there is one.
    """

    def __init__(
        self,
        peer: str,
        name: str,
        data: dict[str, Any],
        options: Options,
        announce: Announce,
        wall_ms: Callable[[], int],
        inherited: Participant | None = None,
    ) -> None:
        self.id = peer
        self.name = name
        self.options = options
        self.standby: Standby | None = None
        """Set where the peer waits for a writer's place, if there is none at its start."""
        if options.on_max_writers == "wait":
            self.standby = Standby(peer, announce)
            announce = self.standby.announce
        self.announce = announce
        # Not wrapped in a Python class: an interrupt after such an __enter__ and before the block
        # would leave it locked. Reentrant, because a signal handler may read.
        self.guard = RLock()
        if inherited is not None:
            self.guard = inherited.guard
        self.is_of_parent = False
        """In a forked child: whether this participant ran in the parent."""
        self.state = State(self.guard, KINDS)
        network = options.network
        self.log = Log(0, 0, max_entries=network.max_log, max_bytes=network.max_log_bytes)
        self.clock = HybridClock()
        self.view_waiters = ViewWaiters(self.guard)
        self.entry_waiters = EntryWaiters()
        self.freezer = Freezer()
        view = None if inherited is None else self._taken_over(inherited)
        self.trace = new_trace(name, peer, wanted=options.log_events)
        self.replica: Replica[AwaitedWrite] = Replica(
            peer,
            self.state,
            self.log,
            PendingWrites(keep=network.max_log, keep_bytes=network.max_log_bytes),
            self.guard,
            self.view_waiters,
            view=view,
        )
        self.writer = Writer(
            name,
            options,
            self.replica,
            self.guard,
            self.clock,
            self._rolled_back,
            wall_ms,
            self.trace,
        )
        self.lock_requests: Any = None  # see `runtime.lock_requests`; once there are any
        self.on_change: Callable[[], None] | None = None
        """Called when the document has changed, by the thread that plays the role."""
        self._methods: MethodPart | None = None  # the directory of calls, as announced last
        self._methods_revision = 0
        self.announcer = Announcer(self.state, self.log, announce)
        if self.standby is not None:
            self.standby.catch_up = self.announcer.announce_present
        self._data = data
        self._last_host: str | None = None
        self._mismatch = ""  # the last warning about its options

    def _taken_over(self, inherited: Participant) -> ReadOnlyDict:
        """The view of a participant of the parent, with what belongs to it."""
        self.view_waiters, self.freezer = inherited.view_waiters, inherited.freezer
        self.view_waiters.ended = False
        view = inherited.replica.view
        if inherited.replica.is_half_changed:
            note_sizes(view)  # or what memsync was about to change would seem foreign
            inherited.replica.is_half_changed = False
        return view

    # -- what programs read (any thread) ---------------------------------------------------------

    def value(self, path: str | None = None) -> Any:
        """A detached copy of the value at a dotted path, None where there is none."""
        return self.read(lambda view: value_at(view, path or ""))

    def stands_by(self) -> str | None:
        """Why this peer waits for a writer's place; None if it does not."""
        standby = self.standby
        waits = standby is not None and not standby.is_over
        return standby.reason(self.members()) if standby is not None and waits else None

    def members(self) -> Members:
        """The members as of now."""
        return dict(self.state.members)

    def read(self, look: Callable[[Any], TResult]) -> TResult:
        """Call ``look(view)`` while no thread changes the view, and return the result.

        A view that an exception has left half changed is repaired first, by the thread that plays
        the role; the wait for that ends after the option ``timeout``.
        """
        guard, replica = self.guard, self.replica
        is_nested = guard._is_owned()  # type: ignore[attr-defined]  # a signal handler reads
        with guard:
            if not replica.is_half_changed or is_nested or self.view_waiters.ended:
                return look(replica.view)
        waiter = self.view_waiters.add([""])
        deadline = monotonic() + self.options.timeout
        while replica.is_half_changed and self.view_waiters.wait(waiter, deadline):
            pass
        with guard:
            return look(replica.view)

    # -- entries and snapshots (the thread that plays the role) ----------------------------------

    def bootstrap(
        self,
        cluster_id: str,
        saved: dict[str, Any] | None = None,
        pair: tuple[int, int] = (0, 0),
    ) -> None:
        """Begin a new object with this peer's own data, or with what was `saved` at a pair."""
        data = self._data if saved is None else saved
        self.replica.bootstrap(data, stated(self.options), cluster_id, pair)

    def adopt(self, saved: dict[str, Any], pair: tuple[int, int]) -> None:
        """Go on from a later version of this object, which was `saved` at a pair."""
        self.state.adopt(saved, pair)
        self.replica.restart()
        self.publish([])

    def apply(self, entry: Entry, body: bytes | memoryview) -> None:
        """Apply the next entry, which came as the frame's body `body`; `publish` shows it."""
        self.apply_all([(entry, body)], [])

    def apply_all(
        self, arrivals: Iterable[tuple[Entry, bytes | memoryview]], applied: list[Entry]
    ) -> None:
        """Apply the next entries, in one step under the guard.

        Appends them to `applied`, also those before one that cannot be applied.
        """
        replica, before = self.replica, len(applied)
        try:
            with self.guard:
                for entry, body in arrivals:
                    replica.apply(entry, body)
                    applied.append(entry)
                    self.clock.merge(entry.timestamp)
        finally:
            if self.trace is not None:
                for entry in applied[before:]:
                    self.trace("applied", **facts_of(entry, self.state.members))

    def install(self, chunk: SnapshotChunk, decided: int = 0) -> bool:
        """Add a chunk of a snapshot (see `Replica.add_chunk`); True when it was the last."""
        return self.replica.add_chunk(chunk, decided)

    def publish(self, entries: list[Entry]) -> None:
        """Show the arrivals, announce `entries` to callbacks, and resolve own writes.

        A copy that replaces a torn one may begin behind the view; callbacks get nothing twice.
        """
        replica = self.replica
        is_same = replica.view_cluster_id == self.state.cluster_id
        seen = replica.published_pair if is_same else (0, 0)
        published = replica.publish()
        if entries and (entries[0].epoch, entries[0].version) <= seen:
            entries = [each for each in entries if (each.epoch, each.version) > seen]
        self.announce_entries(entries)
        self.writer.complete_all(published)

    def announce_entries(self, entries: list[Entry]) -> None:
        """Announce the patches and events of the entries that lead to the state's pair.

        Also a change of the methods.
        """
        self.freezer.look(self.replica.view)
        if self.standby is not None:
            self.standby.check(self.state.members)
        if self.entry_waiters.waiting:
            self.entry_waiters.advanced()
        if self.on_change is not None and any(each.kind == PatchKind.name for each in entries):
            self.on_change()
        methods: MethodPart = self.state.parts[MethodKind.name]
        if methods is not self._methods or methods.revision != self._methods_revision:
            self._methods, self._methods_revision = methods, methods.revision
            self.announce("methods", None)
        self.announcer.entries(entries)

    # -- roles (driver) --------------------------------------------------------------------------

    def tear(self, error: Exception) -> None:
        """This copy is torn: the engine replaces it by another peer's, if there is one."""
        self.state.tear()
        with self.guard:
            places = ", ".join(map(repr, foreign_places(self.replica.view)))
        if places:
            log.warning(
                "mem.data was changed at %s by other code, past memsync's containers %s: it is "
                "fetched again from another peer, or stays changed if there is none; change it "
                "with patch(), or copy it first",
                places,
                self,
            )
        else:
            log.error("this copy is torn %s: %s", self, error, exc_info=error)

    def adopt_group_options(self) -> None:
        """Apply the founder's options, once the state is known."""
        self.writer.max_frame = group_value(self.state.options, "network.max_frame")

    def enter_role(self, uplink: Uplink, last: int, *, hosts: bool) -> None:
        """Send writes to this uplink; the host has decided this peer's writes up to `last`."""
        self.adopt_group_options()
        self._compare_options()
        with self.guard:
            self.freezer.look_inside(self.replica.view)
        self.writer.enter(uplink, last, holds_accepted=hosts)
        old, self._last_host = self._last_host, self.state.host
        if old not in (None, self._last_host):
            change = {"old": old, "new": self._last_host, "epoch": self.state.epoch}
            self.announce("host_changed", change)

    def leave_role(self, *, for_good: bool, holds_back: bool) -> None:
        """Keep writes until the next role; see `Writer.leave`."""
        self.writer.leave(for_good=for_good, holds_back=holds_back)

    def end_waiting(self) -> None:
        """The peer stops: wake the threads that wait for a change, an entry or an event."""
        self.view_waiters.end()
        self.entry_waiters.end()
        self.announce("ended", None)

    def end(self) -> None:
        """The peer has stopped: end all waiting."""
        self.end_waiting()
        self.writer.end()
        self.freezer.thaw()

    def close_after_fork(self) -> None:
        """In a forked child: the participant belongs to the parent, but stays readable."""
        self.is_of_parent = True
        self.view_waiters.after_fork()
        self.entry_waiters.after_fork()
        self.guard._at_fork_reinit()  # type: ignore[attr-defined]  # as the stdlib does it

    def _compare_options(self) -> None:
        """Log a warning when the group's options differ from the ones that this peer states."""
        reported, self._mismatch = self._mismatch, ""
        try:
            check_group_options(self.state.options, group_part(stated(self.options)))
        except MemSyncError as error:
            self._mismatch = str(error)
            if self._mismatch != reported:
                log.warning("options ignored, the group's apply %s: %s", self, error)

    def _rolled_back(self, error: MemSyncError) -> None:
        self.announce("rolled_back", error)

    def __str__(self) -> str:
        """The peer as log lines name it."""
        return f"name={self.name} peer={self.id} epoch={self.state.epoch}"
