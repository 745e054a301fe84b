"""A peer's copy: the confirmed state, and on top of it the peer's own pending writes.

Programs read the `view`, which is at any time::

    view  =  confirmed document  +  the pending writes, in the order of their numbers

A write is *shown* in the view when it is made. Entries and decisions change the confirmed state
first; `publish` then updates the view once for all that has arrived. In two cases that is cheap:

* the peer's own entry, with the very operations that are shown: nothing changes;
* an entry that does not overlap the pending writes (see `document.footprint`): it is replayed.

In all other cases the view is *rebased*: the pending updates are compiled again on a copy of the
confirmed document, because their old operations may hold wrong array indexes. The view then
converges to the copy, and each value that differs is stored once, so no reader sees a write undone
and redone. A pending write that does not compile changes nothing here; the host still decides it.
Only the object of another cluster may have to wait until it is shown (see `publish`).

A copy reaches a given pair ``(epoch, version)`` by entries if the sender's log holds the copy's
pair, and by a snapshot in chunks otherwise. The same functions serve a host that updates a client
and a survivor that updates a candidate.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, NamedTuple

from ..document import (
    CopyOnWrite,
    Operation,
    ReadWriteSet,
    converge,
    make_live,
    read_write_set,
    replace_content,
    replay,
    value_at_pointer,
)
from ..errors import ConflictError, MemSyncError, from_wire
from .codec import CHUNK_BYTES, encode_value, snapshot_frames
from .entries import Decision, Entry, Propose, SnapshotChunk
from .log import Log
from .pending import PendingWrites, W
from .state import State

_SCALARS = frozenset({type(None), bool, int, float, str})
_MAX_PATCHES = 1000  # in a `ConflictError`; the newest ones


class Outcome(NamedTuple, Generic[W]):
    """The outcome of an own write; `rolled_back`: the view showed it, and does not any more."""

    write: W
    version: int
    error: MemSyncError | None
    rolled_back: bool
    made_entry: bool = True


class Published(NamedTuple, Generic[W]):
    """What `Replica.publish` found out about own writes."""

    outcomes: list[Outcome[W]]
    forgotten: int  # acknowledged writes that no host has and this peer no longer remembers
    replaced: int  # acknowledged writes of a cluster that gave way to an earlier one


class Replica(Generic[W]):
    """A peer's state, log and pending writes, and its view.

    All methods but `show` belong to the thread that plays the peer's role. `guard` is held whenever
    the view or the writes change. `changed` is called, under the guard, with the operations that
    may have changed the view, or with None when anything may have changed.
    """

    def __init__(
        self,
        peer: str,
        state: State,
        log: Log,
        writes: PendingWrites[W],
        guard: AbstractContextManager[Any],
        changed: Callable[[list[Operation] | None], None] = lambda operations: None,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self.peer = peer
        self.state = state
        self.log = log
        self.writes = writes
        self.guard = guard
        self.view = make_live({}, guard)
        self.view_pair = (0, 0)  # of the confirmed document in the view
        self.view_cluster_id = ""
        self.chunk_bytes = chunk_bytes  # bytes of a snapshot in one frame
        self._changed = changed
        self._arrived: list[Entry | Decision] = []
        self._must_rebuild = False  # the view, from the confirmed document
        self._last_decided = 0  # own writes up to this number are in the state, or never will be
        self._before: list[Operation] | None = None  # the pending operations when a rebase began
        self._pending_places: ReadWriteSet | None = None
        self._chunks: list[bytes] = []
        self._encoded: tuple[tuple[int, int], list[bytes]] | None = None
        # Published, but the caller has not called `advance` yet.
        self._no_news: Published[W] = Published([], 0, 0)
        self._outcomes: list[Outcome[W]] = []
        self._forgotten = 0
        self._replaced = 0

    @property
    def pair(self) -> tuple[int, int]:
        """The pair of this copy; (0, 0) when it holds nothing, or is torn."""
        return (0, 0) if self.state.torn else self.state.pair

    @property
    def cluster_id(self) -> str:
        """The cluster whose object this copy holds; "" without a usable copy."""
        return self.state.cluster_id if self.pair != (0, 0) else ""

    def accept_torn(self) -> None:
        """Go on with this copy although a change to it was interrupted: there is no better one."""
        self.state.torn = False
        self._restart_from_state(0)

    def bootstrap(
        self, data: dict[str, Any], options: dict[str, Any], cluster_id: str = ""
    ) -> None:
        """Begin a new object."""
        self.state.bootstrap(data, options, cluster_id)
        self._must_rebuild = True

    # -- own writes ------------------------------------------------------------------------------

    def show(self, write: W) -> None:
        """Add a new write and show it; the guard is held."""
        # An interrupt in here leaves it True, so that the next publish rebuilds the view.
        must_rebuild, self._must_rebuild = self._must_rebuild, True
        self.writes.add(write)
        if must_rebuild:
            return  # the rebuild shows it
        write.operations = self._compiled(self.view, write.proposal)
        replay(self.view, write.operations, fit=True)
        if self._pending_places is not None:
            self._pending_places.add(self._places(write))
        if write.operations:
            write.was_shown = True
            self._changed(write.operations)
        self._must_rebuild = False

    def _compiled(self, document: dict[str, Any], proposal: Propose) -> list[Operation]:
        """The operations of a pending write; none where it does not apply, the host decides."""
        try:
            kind = self.state.kind(proposal.kind)
            return kind.compile(document, proposal, self.state.version)
        except MemSyncError:
            return []

    # -- entries and decisions -------------------------------------------------------------------

    def apply(self, entry: Entry, body: bytes | memoryview) -> None:
        """Apply the next entry, which came as the frame's body `body`, to the confirmed state."""
        self.state.apply(entry)
        self.log.append(entry, bytes(body))
        self._arrived.append(entry)

    def ordered(self, entry: Entry) -> None:
        """Note an entry that the host's sequencer has applied to the state already."""
        self._arrived.append(entry)

    def decide(self, decision: Decision) -> None:
        """Note the outcome of an own write that made no entry."""
        self._arrived.append(decision)

    def publish(self) -> Published[W]:
        """Show all that has arrived in one step; returns the news about own writes.

        The same news is returned again until `advance` acknowledges it, so a thread that is
        interrupted in between loses no outcome.

        A pair below the one in the view belongs to an object that was founded earlier and wins. It
        is shown once its next epoch has begun, so that no reader sees a version go back.
        """
        if (self._arrived or self._must_rebuild) and self.pair >= self.view_pair:  # and not torn
            with self.guard:
                self._show_arrived()
        return self.published()

    def published(self) -> Published[W]:
        """The news that `advance` has not acknowledged yet."""
        if not self._outcomes and not self._forgotten and not self._replaced:
            return self._no_news
        return Published(list(self._outcomes), self._forgotten, self._replaced)

    def advance(self, published: Published[W]) -> None:
        """Drop the news that the caller has handled."""
        del self._outcomes[: len(published.outcomes)]
        self._forgotten -= published.forgotten
        self._replaced -= published.replaced

    def _show_arrived(self) -> None:
        # Stays True when an interrupt ends this early: the next call then rebuilds the view.
        must_rebuild, self._must_rebuild = self._must_rebuild, True
        arrived, self._arrived = self._arrived, []
        self._before = None
        patches = self._follow(arrived, must_rebuild)
        if must_rebuild:
            self._rebuild()
        elif self._before is not None:
            self._rebase(self._before, patches)
        self._must_rebuild = False
        if not self.writes.pending:
            self._pending_places = None
        self.view_pair = self.state.pair

    def _follow(self, arrived: list[Entry | Decision], must_rebuild: bool) -> list[Operation]:
        """Go through the arrivals; returns the operations that wait for a rebase.

        An outcome is noted before its write is completed, so that no interrupt loses it.
        """
        waiting: list[Operation] = []
        for item in arrived:
            if type(item) is Decision:
                self._complete_one(item)
                continue
            assert isinstance(item, Entry)
            own = item.number if item.peer == self.peer else 0
            if own:
                for number, version, error in item.decided:
                    self._complete_one(Decision(number, version, error))
            operations = self.state.kinds[item.kind].changes(item)
            if operations and not must_rebuild:
                if self._before is None and not self._show_directly(operations, own):
                    self._begin_rebase()
                if self._before is not None:
                    waiting += operations
            if own and (write := self.writes.pending.get(own)) is not None:
                self._outcomes.append(Outcome(write, item.version, None, False))
                self.writes.complete(own, made_entry=True)
        return waiting

    def _show_directly(self, operations: list[Operation], own: int) -> bool:
        """Show an entry without a rebase; returns whether that is possible."""
        pending = self.writes.pending
        if own in pending:
            # Only the first one was compiled on the confirmed state itself.
            return own == next(iter(pending)) and _same(pending[own].operations, operations)
        if pending and self._places_of_pending().overlaps(read_write_set(operations)):
            return False
        replay(self.view, operations, fit=True)
        self._changed(operations)
        return True

    def _complete_one(self, decision: Decision) -> None:
        write = self.writes.pending.get(decision.number)
        if write is None:
            return  # known already
        if write.operations and self._before is None:
            self._begin_rebase()
        refusal = self._refusal(decision.error, write.proposal) if decision.error else None
        was_rolled_back = write.was_shown and refusal is not None
        outcome = Outcome(write, decision.version, refusal, was_rolled_back, decision.made_entry)
        self._outcomes.append(outcome)
        self.writes.complete(decision.number, made_entry=decision.made_entry)

    def _refusal(self, wire: list[Any], proposal: Propose) -> MemSyncError:
        """The error, with the facts that the host leaves out because this copy has them."""
        error = from_wire(wire)
        if isinstance(error, ConflictError):
            if error.path is not None and error.value is None:
                error.value = value_at_pointer(self.state.document, error.path)
            base = self.state.common(proposal.epoch, proposal.version)
            entries = self.log.newest(base, _MAX_PATCHES)
            error.patches = self.state.patches_of(entries)
        return error

    # -- rebase ----------------------------------------------------------------------------------

    def _places_of_pending(self) -> ReadWriteSet:
        if self._pending_places is None:
            self._pending_places = ReadWriteSet()
            for write in self.writes.pending.values():
                self._pending_places.add(self._places(write))
        return self._pending_places

    def _places(self, write: W) -> set[str]:
        """The places that a pending write changes, and those that its operations depend on."""
        proposal = write.proposal
        reads = self.state.kind(proposal.kind).reads(proposal)
        return {*read_write_set(write.operations), *reads}

    def _begin_rebase(self) -> None:
        """Remember how the view differs from the state at this point."""
        self._before = [
            operation for write in self.writes.pending.values() for operation in write.operations
        ]

    def _rebase(self, before: list[Operation], arrived: list[Operation]) -> None:
        copy, after = self._recompiled()
        converge(self.view, copy.root, before, arrived, after)
        self._changed([*before, *arrived, *after])

    def _rebuild(self) -> None:
        """Replace the view: after a snapshot, or when a change to the view was interrupted."""
        if self.view_cluster_id != self.state.cluster_id:
            self.writes.reset_base()
            self.view_cluster_id = self.state.cluster_id
        copy, _ = self._recompiled()
        replace_content(self.view, copy.root)
        self._changed(None)

    def _recompiled(self) -> tuple[CopyOnWrite, list[Operation]]:
        """The confirmed document with the pending writes on top, and their operations."""
        copy = CopyOnWrite(self.state.document)
        operations: list[Operation] = []
        for number, write in self.writes.pending.items():
            is_decided = number <= self._last_decided
            write.operations = [] if is_decided else self._compiled(copy.root, write.proposal)
            write.was_shown = write.was_shown or bool(write.operations)
            copy.replay(write.operations)
            operations += write.operations
        self._pending_places = None
        return copy, operations

    # -- snapshots -------------------------------------------------------------------------------

    def add_chunk(self, chunk: SnapshotChunk, decided: int = 0) -> bool:
        """Collect a chunk; the last one installs the snapshot, and the method returns True.

        The sender has decided own writes up to the number `decided`. Later ones that the snapshot
        lacks are pending again. If the snapshot is of another cluster, accepted writes are lost.
        """
        self._chunks.append(chunk.data)
        if not chunk.last:
            return False
        data = b"".join(self._chunks)
        self._chunks = []
        cluster_id = self.state.cluster_id
        self.state.restore(data)
        if cluster_id not in ("", self.state.cluster_id):
            self._replaced += self.writes.forget_accepted()
        self._restart_from_state(decided)
        return True

    def _restart_from_state(self, decided: int) -> None:
        """Adopt a state that did not come by entries; outcomes of own writes are in its session."""
        self.log.reset(*self.state.pair)
        self.forget_encoding()  # it may be of another cluster
        session = self.state.sessions.get(self.peer)
        with self.guard:
            self._must_rebuild = True
            # Writes decided after this snapshot arrive behind it, and are shown until then.
            self._last_decided = session.last if session else 0
            self._forgotten += self.writes.recall(max(decided, self._last_decided))
            # The state contains the arrived entries, and the session their outcomes.
            self._arrived = [item for item in self._arrived if type(item) is Decision]
            if session:
                self._arrived += [Decision(n, *outcome) for n, outcome in session.outcomes.items()]

    def drop_chunks(self) -> None:
        """Forget an incomplete snapshot: its connection is gone."""
        self._chunks = []

    def catch_up(self, epoch: int, version: int, has_at_most: int = 0) -> tuple[bool, list[bytes]]:
        """The frames that bring a peer from a pair to this copy's; the flag says "a snapshot".

        One encoded snapshot, followed by the entries since, serves all peers that need one at about
        the same time. It must not be older than the peer's pair, nor than `has_at_most`, a version
        that the peer may have although its pair is (0, 0).
        """
        entries = self.log.since(epoch, version) if epoch else None
        if entries is not None:
            return False, entries
        if self._encoded is not None:
            pair, chunks = self._encoded
            entries = self.log.since(*pair)
            # With more entries than that, a new encoding is shorter.
            is_shorter = self.log.size_since(pair[1]) <= sum(map(len, chunks))
            is_new = pair[1] >= has_at_most and pair >= (epoch, version)
            if entries is not None and is_shorter and is_new:
                return True, [*chunks, *entries]
        chunks = snapshot_frames(self.state.encode(), self.chunk_bytes)
        self._encoded = (self.state.pair, chunks)
        return True, chunks

    def forget_encoding(self) -> None:
        """Free the memory of the encoded snapshot."""
        self._encoded = None


def _same(ours: list[Operation], theirs: list[Operation]) -> bool:
    """Whether two patches do the same to the same document."""
    if len(ours) == len(theirs) == 1 and type(value := ours[0].get("value")) in _SCALARS:
        # Values of different types can be equal: 1, 1.0 and True.
        return ours == theirs and type(value) is type(theirs[0].get("value"))
    # The encodings of 1, 1.0 and True differ, and so do those of two orders of keys.
    return ours == theirs and encode_value(ours) == encode_value(theirs)
