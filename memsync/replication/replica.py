"""A peer's copy: the confirmed state, and on top of it the peer's own pending writes.

Programs read `live`, which is at any time::

    live  =  confirmed document  +  the pending writes, in the order of their numbers

A write is *shown* in `live` when it is made. Entries change the confirmed state; what they and the
decisions mean for `live` is worked out in `publish`, once for all that has arrived. In most cases
that is little:

* the peer's own entry, with the very operations that are shown: nothing changes;
* an entry that has nothing to do with what is pending (see `document.footprint`): it is replayed.

Else `live` is *rebased*: the pending updates (never their old operations, for indexes shift) are
compiled anew on a copy of the confirmed document, and `live` converges to the copy. So nothing is
ever undone where somebody could read it; each value that differs is stored once. A write that does
not compile at present changes nothing; the host decides it all the same. Only the object of another
network, which has to be taken over, may wait to be shown (see `publish`).

Two ways lead to a given pair ``(epoch, version)``: entries, if the other side's log holds the pair
from which we come, else a snapshot in chunks. The same functions serve both directions: a host that
brings a client level, and a survivor that brings a candidate level.
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
    identical,
    make_live,
    read_write_set,
    replace_content,
    replay,
    value_at_pointer,
)
from ..errors import ConflictError, MemSyncError, from_wire
from .codec import CHUNK_BYTES, frame, snapshot_frames
from .entries import Decision, Entry, Propose, SnapshotChunk
from .log import Log
from .pending import PendingWrites, W
from .state import State

_SCALARS = frozenset({type(None), bool, int, float, str})
_MAX_PATCHES = 1000  # of those since a refused write's base, the newest ones are told


class Outcome(NamedTuple, Generic[W]):
    """What has become of an own write; one that is `rolled_back` was visible and is no more."""

    write: W
    version: int
    error: MemSyncError | None
    rolled_back: bool
    made_entry: bool = True


class Published(NamedTuple, Generic[W]):
    """What `Replica.publish` found out about own writes."""

    outcomes: list[Outcome[W]]
    forgotten: int  # acknowledged writes that no host has and nobody remembers
    replaced: int  # acknowledged writes of a network that gave way to an earlier one


class Replica(Generic[W]):
    """A peer's state, log and writes, and what it shows.

    All but `show` belongs to the thread that plays the peer's role. `guard` is held whenever `live`
    or the writes change. `changed` is called, under the guard, with the operations that may have
    changed `live`, or None when anything may have.
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
        self.view_pair = (0, 0)  # the pair that `live` shows, the pending writes on top
        self.chunk_bytes = chunk_bytes  # bytes of a snapshot in one frame
        self._changed = changed
        self._arrived: list[Entry | Decision] = []
        self.view_cluster_id = ""  # whose object `live` shows
        self._hidden = 0  # own writes up to this number are in the state, or never will be
        self._stale = False  # live must be made anew
        self._before: list[Operation] | None = None
        self._pending_places: ReadWriteSet | None = None
        self._chunks: list[bytes] = []
        self._encoded: tuple[tuple[int, int], list[bytes]] | None = None
        # What was published, and not taken yet.
        self._outcomes: list[Outcome[W]] = []
        self._forgotten = 0
        self._replaced = 0

    @property
    def pair(self) -> tuple[int, int]:
        """What this copy can vouch for: (0, 0) when it holds nothing, or is torn."""
        return (0, 0) if self.state.torn else self.state.pair

    @property
    def cluster_id(self) -> str:
        """The network whose object this copy can vouch for; "" when that is none."""
        return self.state.cluster_id if self.pair != (0, 0) else ""

    def accept_torn(self) -> None:
        """There is no better copy than this one, although a change to it was interrupted."""
        self.state.torn = False
        self._start_anew(0)

    def bootstrap(
        self, data: dict[str, Any], options: dict[str, Any], cluster_id: str = ""
    ) -> None:
        """Begin a new object."""
        self.state.bootstrap(data, options, cluster_id)
        self._stale = True

    # -- own writes ------------------------------------------------------------------------------

    def show(self, write: W) -> None:
        """Take in a new write and show it; the guard is held."""
        was_stale, self._stale = self._stale, True  # an interrupt in here leaves it so
        self.writes.add(write)
        if was_stale:
            return  # it is shown together with all others
        write.operations = self._compiled(self.view, write.proposal)
        replay(self.view, write.operations, fit=True)
        if self._pending_places is not None:
            self._pending_places.add(self._places(write))
        if write.operations:
            write.was_shown = True
            self._changed(write.operations)
        self._stale = False

    def _compiled(self, document: dict[str, Any], proposal: Propose) -> list[Operation]:
        """What a pending write changes here; nothing where it does not fit, the host will say."""
        try:
            kind = self.state.kind(proposal.kind)
            return kind.compile(document, proposal, self.state.version)
        except MemSyncError:
            return []

    # -- what comes in ---------------------------------------------------------------------------

    def apply(self, entry: Entry, size: int) -> None:
        """Take the next entry in, of `size` bytes on the wire; `publish` shows it."""
        self.state.apply(entry)
        self.log.append(entry, size)
        self._arrived.append(entry)

    def ordered(self, entry: Entry) -> None:
        """The host's sequencer has applied an entry to the state; `publish` shows it."""
        self._arrived.append(entry)

    def decide(self, decision: Decision) -> None:
        """Take an outcome in; `publish` makes it known."""
        self._arrived.append(decision)

    def publish(self) -> Published[W]:
        """Show what has come in, in one step; returns what is known about own writes since.

        What is returned is returned again until `advance` says that it was taken: a thread that is
        interrupted in between loses no outcome.

        A pair below the one that is shown is that of an object founded earlier, which wins: it is
        shown when its next epoch has begun, so that no reader sees a version go back.
        """
        if (self._arrived or self._stale) and self.pair >= self.view_pair:  # and not torn
            with self.guard:
                self._show_arrived()
        return self.published()

    def published(self) -> Published[W]:
        """What was published and not taken yet."""
        return Published(list(self._outcomes), self._forgotten, self._replaced)

    def advance(self, published: Published[W]) -> None:
        """The caller has taken what was published."""
        del self._outcomes[: len(published.outcomes)]
        self._forgotten -= published.forgotten
        self._replaced -= published.replaced

    def _show_arrived(self) -> None:
        arrived, self._arrived = self._arrived, []
        # Found stale later, this was interrupted: live is made anew then.
        was_stale, self._stale = self._stale, True
        self._before = None
        patches = self._follow(arrived, was_stale)
        if was_stale:
            self._renew()
        elif self._before is not None:
            self._rebase(self._before, patches)
        self._stale = False
        if not self.writes.pending:
            self._pending_places = None
        self.view_pair = self.state.pair

    def _follow(self, arrived: list[Entry | Decision], was_stale: bool) -> list[Operation]:
        """Go through what has come in; the operations of entries that wait for a rebase.

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
            if operations and not was_stale:
                if self._before is None and not self._is_simple(operations, own):
                    self._begin_rebase()
                if self._before is not None:
                    waiting += operations
            if own and (write := self.writes.pending.get(own)) is not None:
                self._outcomes.append(Outcome(write, item.version, None, False))
                self.writes.complete(own, made_entry=True)
        return waiting

    def _is_simple(self, operations: list[Operation], own: int) -> bool:
        """Show an entry without a rebase, where that can be done."""
        pending = self.writes.pending
        if own in pending:
            # Only the first one stands directly on the confirmed state.
            return own == next(iter(pending)) and _same(pending[own].operations, operations)
        if pending and self._places_of_pending().overlaps(read_write_set(operations)):
            return False
        replay(self.view, operations, fit=True)  # as they did in the state
        self._changed(operations)
        return True

    def _complete_one(self, decision: Decision) -> None:
        """The outcome of a write of which no entry has come."""
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
        """The error, with what this copy knows better than the host needed to send."""
        error = from_wire(wire)
        if isinstance(error, ConflictError):
            if error.path is not None and error.value is None:
                error.value = value_at_pointer(self.state.document, error.path)
            base = self.state.common(proposal.epoch, proposal.version)
            error.patches = [
                {"version": e.version, "epoch": e.epoch, "peer": e.peer, "patch": operations}
                for e in self.log.newest(base, _MAX_PATCHES)
                if (operations := self.state.kinds[e.kind].changes(e))
            ]
        return error

    # -- rebase ----------------------------------------------------------------------------------

    def _places_of_pending(self) -> ReadWriteSet:
        if self._pending_places is None:
            self._pending_places = ReadWriteSet()
            for write in self.writes.pending.values():
                self._pending_places.add(self._places(write))
        return self._pending_places

    def _places(self, write: W) -> set[str]:
        """The places which a pending write touches, and those on which its operations depend."""
        proposal = write.proposal
        reads = self.state.kind(proposal.kind).reads(proposal)
        return {*read_write_set(write.operations), *reads}

    def _begin_rebase(self) -> None:
        """Remember how `live` differs from the state up to here."""
        self._before = [
            operation for write in self.writes.pending.values() for operation in write.operations
        ]

    def _rebase(self, before: list[Operation], arrived: list[Operation]) -> None:
        copy, after = self._compiled_anew()
        converge(self.view, copy.root, before, arrived, after)
        self._changed([*before, *arrived, *after])

    def _renew(self) -> None:
        """Make `live` anew: a snapshot has come, or a change to it was interrupted."""
        if self.view_cluster_id != self.state.cluster_id:
            self.writes.have_seen_nothing()  # of this object
            self.view_cluster_id = self.state.cluster_id
        copy, _ = self._compiled_anew()
        replace_content(self.view, copy.root)
        self._changed(None)

    def _compiled_anew(self) -> tuple[CopyOnWrite, list[Operation]]:
        """The confirmed document with the pending writes on top, and their operations."""
        copy = CopyOnWrite(self.state.document)
        operations: list[Operation] = []
        for number, write in self.writes.pending.items():
            # What is decided is in the document already, or never will be.
            hidden = number <= self._hidden
            write.operations = [] if hidden else self._compiled(copy.root, write.proposal)
            write.was_shown = write.was_shown or bool(write.operations)
            copy.replay(write.operations)
            operations += write.operations
        self._pending_places = None
        return copy, operations

    # -- snapshots -------------------------------------------------------------------------------

    def add_chunk(self, chunk: SnapshotChunk, decided: int = 0) -> bool:
        """Collect a chunk of a snapshot; at the last one it is installed. True when it was.

        Own writes up to the number `decided` are decided; what the snapshot lacks of the others is
        pending again. In another network than before, those that were accepted are lost.
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
        self._start_anew(decided)
        return True

    def _start_anew(self, decided: int) -> None:
        """The state is there, but not by way of entries: what became of own writes is in it."""
        self.log.reset(*self.state.pair)
        self.forget_encoding()  # it may be of another network
        row = self.state.sessions.get(self.peer)
        with self.guard:
            self._stale = True
            # What was decided after this snapshot comes behind it, and is shown until then.
            self._hidden = row.last if row else 0
            self._forgotten += self.writes.recall(max(decided, self._hidden))
            # Entries below are in the state; what they said of own writes is in the row.
            self._arrived = [item for item in self._arrived if type(item) is Decision]
            if row:
                self._arrived += [Decision(n, *outcome) for n, outcome in row.outcomes.items()]

    def drop_chunks(self) -> None:
        """The connection is gone: what came of a snapshot is void."""
        self._chunks = []

    def catch_up(self, epoch: int, version: int, has_at_most: int = 0) -> tuple[bool, list[bytes]]:
        """What brings a peer at the given pair level with us.

        Returns whether it is a snapshot, and the frames. One encoding serves all who need one at
        about the same time, with the entries since behind it; but none that is older than the
        peer's pair, or than the version which it may have in spite of that.
        """
        entries = self.log.since(epoch, version) if epoch else None
        if entries is not None:
            return False, [frame(entry) for entry in entries]
        if self._encoded is not None:
            pair, chunks = self._encoded
            entries = self.log.since(*pair)
            # More than that and a new encoding is the shorter way.
            is_shorter = self.log.size_since(pair[1]) <= sum(map(len, chunks))
            is_new = pair[1] >= has_at_most and pair >= (epoch, version)
            if entries is not None and is_shorter and is_new:
                return True, [*chunks, *map(frame, entries)]
        chunks = snapshot_frames(self.state.encode(), self.chunk_bytes)
        self._encoded = (self.state.pair, chunks)
        return True, chunks

    def forget_encoding(self) -> None:
        """Give the memory of the encoded snapshot back."""
        self._encoded = None


def _same(ours: list[Operation], theirs: list[Operation]) -> bool:
    """Whether two patches do the same to the same document."""
    if len(ours) == len(theirs) == 1 and type(value := ours[0].get("value")) in _SCALARS:
        # Values of different types can be equal: 1, 1.0 and True.
        return ours == theirs and type(value) is type(theirs[0].get("value"))
    return identical(ours, theirs)
