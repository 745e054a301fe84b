"""A peer's copy: the confirmed state, and on top of it the peer's own pending writes.

Programs read the `view`, which is at any time::

    view  =  confirmed document  +  the pending writes, in the order of their numbers

A write is *shown* in the view when it is made. Entries and decisions change the confirmed state,
with which the view shares what is equal (see `document.live.sharing`). What an entry means for the
view is found out when it is applied:

* the peer's own entry, with the very operations that are shown: nothing changes;
* an entry that does not overlap the pending writes (see `document.footprint`): it is replayed on
  both documents at once.

In all other cases the view is *rebased* by the next `publish`: the pending updates are compiled
again on a copy of the confirmed document, because their old operations may hold wrong array
indexes. The view then converges to the copy, and each value that differs is stored once, so no
reader sees a write undone and redone. A pending write that does not compile changes nothing here;
the host still decides it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Generic

from ..document import (
    CopyOnWrite,
    Operation,
    ReadWriteSet,
    Sharing,
    converge,
    in_parts,
    make_live,
    read_write_set,
    replay,
)
from ..errors import MemSyncError
from .catch_up import CatchUp, Chunks
from .codec import CHUNK_BYTES
from .entries import Decision, Entry, Propose, SnapshotChunk
from .log import Log
from .outcomes import News, Outcome, Published, outcome_of, same_operations, shares_path
from .pending import PendingWrites, W
from .state import State, TornCopyError
from .view_listener import ViewListener


class Replica(Generic[W]):
    """A peer's state, log and pending writes, and its view.

    All methods but `show` belong to the thread that plays the peer's role. `guard` is held whenever
    the view or the writes change, and while `listener` is called. `view` is taken over.
    """

    def __init__(
        self,
        peer: str,
        state: State,
        log: Log,
        writes: PendingWrites[W],
        guard: AbstractContextManager[Any],
        listener: ViewListener | None = None,
        chunk_bytes: int = CHUNK_BYTES,
        view: Any = None,
    ) -> None:
        self.peer = peer
        self.state = state
        self.log = log
        self.writes = writes
        self.guard = guard
        self.view = view if view is not None else make_live({}, guard)
        self.view_pair = self.published_pair = (0, 0)  # of the view, now and at the last `publish`
        self.view_cluster_id = ""
        self._listener = listener or ViewListener()
        self._changed = self._listener.changed
        self._sharing = Sharing(self.view, log.olds)
        state.replay = self._replay
        self._arrived: list[Entry | Decision] = []  # the outcomes of own writes
        self._own_arrived = 0  # own writes up to this number are in the confirmed document
        self.must_rebuild = False  # the view, from the confirmed document
        self.is_half_changed = False  # the view: an exception has ended a change early
        self._failure: Exception | None = None  # of the view, when a write was shown
        self._last_decided = 0  # own writes up to this number are in the state, or never will be
        # Of a rebase: the operations that lead to the view, and to the confirmed document.
        self._before: list[Operation] | None = None
        self._waiting: list[Operation] = []
        self._pending_places: ReadWriteSet | None = None
        self._chunks = Chunks()
        self.chunk_bytes = chunk_bytes  # bytes of a snapshot in one frame
        self._catch_up = CatchUp()
        self._news: News[W] = News()

    @property
    def pair(self) -> tuple[int, int]:
        """The pair of this copy; (0, 0) when it holds nothing, or is torn."""
        return (0, 0) if self.state.torn else self.state.pair

    @property
    def cluster_id(self) -> str:
        """The cluster whose object this copy holds; "" without a usable copy."""
        return self.state.cluster_id if self.pair != (0, 0) else ""

    def restart(self) -> None:
        """Go on from the state as it is: another one, or what can be kept of a torn one."""
        with self.guard:
            self.state.document = self._sharing.salvaged(self.state.document)
        self.state.torn = False
        self._restart_from_state(0)

    def bootstrap(self, data: dict[str, Any], options: dict[str, Any], *of: Any) -> None:
        """Begin a new object; the arguments are those of `State.bootstrap`."""
        self.state.bootstrap(data, options, *of)
        self.log.reset(*self.state.pair)
        self._sharing.replaced()
        self.must_rebuild = True

    # -- own writes ------------------------------------------------------------------------------

    def show(self, write: W) -> None:
        """Add a new write and show it; the guard is held."""
        # An interrupt in here leaves it True, so that the next publish rebuilds the view.
        must_rebuild, self.must_rebuild = self.must_rebuild, True
        self.writes.add(write)
        if must_rebuild:
            return  # the rebuild shows it
        self.is_half_changed = True
        try:
            write.operations = self._compiled(self.view, write.proposal)
            for part in in_parts(write.operations, self.view):
                self.state.document = self._sharing.open_shown(self.state.document, part[0])
                replay(self.view, part, fit=True)
        except Exception as error:
            self._failure = error  # of the copy: `publish` raises it
            return
        if self._before is not None:
            self._before += write.operations
        if self._pending_places is not None:
            self._pending_places.add(self._places(write))
        if write.operations:
            write.was_shown = True
            self._changed(write.operations, True)
        self.must_rebuild = self.is_half_changed = False

    def _compiled(self, document: dict[str, Any], proposal: Propose) -> list[Operation]:
        """The operations of a pending write; none where it does not apply, the host decides."""
        try:
            kind = self.state.kind(proposal.kind)
            return kind.compile(document, proposal, self.state.version)
        except MemSyncError:
            return []

    # -- entries and decisions -------------------------------------------------------------------

    def apply(self, entry: Entry, body: bytes | memoryview) -> None:
        """Apply the next entry, which came as the frame's body `body`; the guard is held."""
        self.state.apply(entry)
        self.log.append(entry, bytes(body))
        self.ordered(entry)

    def ordered(self, entry: Entry) -> None:
        """Note an entry that is in the state already: the host's sequencer has applied it."""
        if entry.peer == self.peer and entry.number:
            self._arrived.append(entry)
            self._own_arrived = entry.number
        if self._before is None and not self.must_rebuild:
            self.view_pair = entry.epoch, entry.version

    def decide(self, decision: Decision) -> None:
        """Note the outcome of an own write that made no entry."""
        with self.guard:
            self._arrived.append(decision)
            self._note_decided([decision.number])

    def publish(self) -> Published[W]:
        """Show all that has arrived and is not shown yet; returns the news about own writes.

        The same news is returned again until `advance` acknowledges it, so a thread that is
        interrupted in between loses no outcome. Raises `TornCopyError` if the view cannot follow.

        A pair below the one in the view belongs to an object that was founded earlier and wins. It
        is shown once its next epoch has begun, so that no reader sees a version go back.
        """
        is_behind = self._arrived or self.must_rebuild or self._before is not None
        with self.guard:
            if is_behind and self.pair >= self.view_pair:  # and not torn
                try:
                    if self._failure is not None:
                        raise self._failure
                    self._catch_up_view()
                except Exception as error:
                    self.state.tear()
                    raise TornCopyError("the view cannot follow") from error
            if self._listener.batch:
                self._listener.end_batch()
            is_equal = not self.writes.pending and self._before is None and not self.must_rebuild
            if is_equal and not self.state.torn:
                self._pending_places = None
                if self.state.document is not self.view:
                    self.state.document = self._sharing.rejoined(self.state.document)
        self.published_pair = self.view_pair
        return self._news.published()

    def published(self) -> Published[W]:
        """The news that `advance` has not acknowledged yet."""
        return self._news.published()

    def advance(self, published: Published[W]) -> None:
        """Drop the news that the caller has handled."""
        self._news.advance(published)

    def _replay(
        self, document: dict[str, Any], entry: Entry, operations: list[Operation], fit: bool
    ) -> dict[str, Any]:
        """Replay an entry on the confirmed document, and on the view unless it must wait.

        The state calls it while the entry is applied.
        """
        sharing = self._sharing
        if self.must_rebuild:
            return sharing.replay_confirmed(document, operations, fit=fit)
        self.must_rebuild = self.is_half_changed = True  # an interrupt in here leaves it so
        own = entry.number if entry.peer == self.peer else 0
        if self.writes.pending:
            if own and entry.decided:
                self._note_decided(number for number, _, _ in entry.decided)
            if self._before is None and not self._can_be_shown(operations, own):
                self._begin_rebase()
        if self._before is not None:
            self._waiting += operations
            document = sharing.replay_confirmed(document, operations, fit=fit)
        elif (write := self.writes.pending.get(own)) is not None:  # with the same operations
            document = sharing.replay_confirmed(document, write.operations, fit=fit)
            self.view_pair = entry.epoch, entry.version
        else:
            document = sharing.replay_both(document, operations, fit=fit)
            self.view_pair = entry.epoch, entry.version
            self._changed(operations, False)
        self.must_rebuild = self.is_half_changed = False
        return document

    def _can_be_shown(self, operations: list[Operation], own: int) -> bool:
        """Whether an entry can be shown without a rebase."""
        pending, first = self.writes.pending, self.writes.first_after(self._own_arrived)
        if first is None:
            return True
        if own in pending:
            # Only the first one was compiled on the confirmed state itself.
            return own == first and same_operations(pending[own].operations, operations)
        if shares_path(pending[first].operations, operations):
            return False  # often, and found without the places of all
        return not self._places_of_pending().overlaps(read_write_set(operations))

    def _note_decided(self, numbers: Iterable[int]) -> None:
        """Begin a rebase if the view shows a write that has made no entry."""
        pending = self.writes.pending
        if self._before is None and any(n in pending and pending[n].operations for n in numbers):
            self._begin_rebase()

    def _follow(self, arrived: list[Entry | Decision]) -> None:
        """Complete the own writes that the arrivals decide.

        An outcome is noted before its write is completed, so that no interrupt loses it.
        """
        for item in arrived:
            if isinstance(item, Decision):
                self._complete_one(item)
                continue
            for number, version, error in item.decided:
                self._complete_one(Decision(number, version, error))
            write = self.writes.pending.get(item.number)
            if write is not None:
                self._news.add(Outcome(write, item.version, None, False))
                self.writes.complete(item.number, made_entry=True)

    def _catch_up_view(self) -> None:
        # Stays True when an interrupt ends this early: the next call then rebuilds the view.
        must_rebuild, self.must_rebuild = self.must_rebuild, True
        self.is_half_changed = True
        self._follow(self._arrived)
        self._arrived = []  # not before: an interrupt in `_follow` must not lose the rest
        if must_rebuild:
            self._rebuild()
        elif self._before is not None:
            self._rebase(self._before, self._waiting)
        self._before, self._waiting, self.view_pair = None, [], self.state.pair
        if must_rebuild:
            self._changed(None, False)
        self.must_rebuild = self.is_half_changed = False

    def _complete_one(self, decision: Decision) -> None:
        write = self.writes.pending.get(decision.number)
        if write is None:
            return  # known already
        self._news.add(outcome_of(write, decision, self.state, self.log))
        self.writes.complete(decision.number, made_entry=decision.made_entry)

    # -- rebase ----------------------------------------------------------------------------------

    def _places_of_pending(self) -> ReadWriteSet:
        if self._pending_places is None:
            self._pending_places = ReadWriteSet()
            for write in self.writes.pending.values():
                self._pending_places.add(self._places(write))
        return self._pending_places

    def _places(self, write: W) -> set[str]:
        """The places that a pending write changes, and those that its operations depend on."""
        reads = self.state.kind(write.proposal.kind).reads(write.proposal)
        return {*read_write_set(write.operations), *reads}

    def _begin_rebase(self) -> None:
        """Remember how the view differs from the state at this point."""
        self._before = [
            operation
            for number, write in self.writes.pending.items()
            if number > self._own_arrived
            for operation in write.operations
        ]
        self._waiting = []

    def _rebase(self, before: list[Operation], arrived: list[Operation]) -> None:
        copy = self._sharing.rebased(self.state.document)
        after = self._recompile(copy)
        self.state.document = copy.confirmed
        converge(self.view, copy.root, before, arrived, after)
        self._changed([*before, *arrived, *after], False)

    def _rebuild(self) -> None:
        """Replace the view: after a snapshot, or when a change to the view was interrupted."""
        if self.view_cluster_id != self.state.cluster_id:
            self.writes.reset_base()
            self.view_cluster_id = self.state.cluster_id
        sharing, state = self._sharing, self.state
        state.document = sharing.detached(state.document)
        copy = CopyOnWrite(state.document)
        self._recompile(copy)
        state.document = sharing.rebuild_view(state.document, copy.root)

    def _recompile(self, copy: CopyOnWrite) -> list[Operation]:
        """Compile the pending writes on top of a copy; returns their operations."""
        operations: list[Operation] = []
        for number, write in self.writes.pending.items():
            is_decided = number <= self._last_decided
            write.operations = [] if is_decided else self._compiled(copy.root, write.proposal)
            write.was_shown = write.was_shown or bool(write.operations)
            copy.replay(write.operations)
            operations += write.operations
        self._pending_places = None
        return operations

    # -- snapshots -------------------------------------------------------------------------------

    def add_chunk(self, chunk: SnapshotChunk, decided: int = 0) -> bool:
        """Collect a chunk; the last one installs the snapshot, and the method returns True.

        The sender has decided own writes up to the number `decided`. Later ones that the snapshot
        lacks are pending again. If the snapshot is of another cluster, accepted writes are lost.
        """
        if (data := self._chunks.add(chunk)) is None:
            return False
        cluster_id = self.state.cluster_id
        history = self.state.restore(data)
        self._sharing.replaced()
        if cluster_id not in ("", self.state.cluster_id):
            self._news.replaced += self.writes.forget_accepted()
        self._restart_from_state(decided)
        self.log.adopt(history)
        return True

    def _restart_from_state(self, decided: int) -> None:
        """Adopt a state that did not come by entries; outcomes of own writes are in its session."""
        self.log.reset(*self.state.pair)
        self.forget_encoding()  # it may be of another cluster
        session = self.state.sessions.get(self.peer)
        with self.guard:
            self.must_rebuild, self._failure, self._own_arrived = True, None, 0
            # Writes decided after this snapshot arrive behind it, and are shown until then.
            self._last_decided = session.last if session else 0
            self._news.forgotten += self.writes.recall(max(decided, self._last_decided))
            # Not those that arrived: the next host may not know them, and wait for their numbers.
            outcomes = session.outcomes if session else {}
            self._arrived = [Decision(n, *outcome) for n, outcome in outcomes.items()]

    def drop_chunks(self) -> None:
        """Forget an incomplete snapshot: its connection is gone."""
        self._chunks.drop()

    def catch_up(
        self, epoch: int, version: int, has_at_most: int = 0, oldest: int | None = None
    ) -> tuple[bool, list[bytes]]:
        """The frames that bring a peer to this copy's pair; see `CatchUp.frames`."""
        frames, pair = self._catch_up.frames, (epoch, version)
        return frames(self.state, self.log, pair, has_at_most, oldest, self.chunk_bytes)

    def forget_encoding(self) -> None:
        """Free the memory of the encoded snapshot."""
        self._catch_up.forget()
