"""What a peer shows and is told around a snapshot, where outcomes come by another way than entries.

What happens all the time is in `test_interleavings`; here are the moments that it seldom meets.
"""

from __future__ import annotations

from typing import Any

from memsync.document import Operation, to_plain
from memsync.errors import ConflictError
from memsync.replication.codec import HEADER
from memsync.replication.codec import decode as parse
from memsync.replication.entries import Decision, Entry, SnapshotChunk
from memsync.replication.pending import PendingWrite
from memsync.replication.replica import Replica
from memsync.replication.sequencer import Sequencer
from memsync.replication.view_listener import ViewListener

from .builders import entry_of, new_replica, new_state, proposal, reign, replica_of, take

START = {"n": 0, "list": [1]}


def bring_up(host: Sequencer, copy: Replica[PendingWrite], *, decided: int = 0) -> None:
    """Send what is missing; the host has decided so many of the copy's own writes."""
    for each in replica_of(host).catch_up(*copy.pair)[1]:
        message = parse(each[HEADER:])
        if isinstance(message, Entry):
            take(copy, message)
        else:
            assert isinstance(message, SnapshotChunk)
            copy.add_chunk(message, decided)


def a_copy(host: Sequencer) -> Replica[PendingWrite]:
    """A level copy of "me"."""
    copy = new_replica("me")
    bring_up(host, copy)
    copy.publish()
    return copy


def write(copy: Replica[PendingWrite], body: Any = None, **changes: Any) -> PendingWrite:
    """An own write, made on what is shown."""
    epoch, version = copy.view_pair
    made = proposal(copy.writes.next_number, body, epoch=epoch, version=version, **changes)
    shown = PendingWrite(made)
    copy.show(shown)
    return shown


def told(copy: Replica[PendingWrite]) -> list[tuple[int, object, bool]]:
    """The outcomes since the last time: number, type of the error, rolled back."""
    published = copy.published()
    found = [(o.write.proposal.number, o.error, o.rolled_back) for o in published.outcomes]
    copy.advance(published)
    return [(number, error and type(error), rolled) for number, error, rolled in found]


def test_a_refused_write_is_shown_on_top_of_a_snapshot_until_its_answer_comes() -> None:
    host = reign(START, "me", "other")
    copy = a_copy(host)
    mine = write(copy, {"$set": {"n": 5}}, timestamp=1)
    entry_of(host.propose("other", proposal(1, {"$set": {"n": 7}}, timestamp=2)))
    decision = host.propose("me", mine.proposal)
    assert isinstance(decision, Decision)
    assert copy.view["n"] == 5
    host.log.reset(*host.state.pair)
    bring_up(host, copy, decided=1)
    copy.publish()
    assert copy.view["n"] == 5  # as before: to take it away unsaid would be to go back
    assert told(copy) == []
    copy.decide(decision)
    copy.publish()
    assert told(copy) == [(1, ConflictError, True)]
    assert copy.view["n"] == 7


def test_g4_an_accepted_write_that_comes_behind_a_snapshot_is_shown_all_the_time() -> None:
    host = reign(START, "me", "other")
    copy = a_copy(host)
    mine = write(copy, {"$inc": {"n": 5}})
    older = replica_of(host)
    host.log.reset(*host.state.pair)
    chunks = older.catch_up(0, 0)[1]
    entry = entry_of(host.propose("me", mine.proposal))
    for each in chunks:
        chunk = parse(each[HEADER:])
        assert isinstance(chunk, SnapshotChunk)
        copy.add_chunk(chunk, decided=1)
    copy.publish()
    assert (copy.view["n"], told(copy)) == (5, [])
    take(copy, entry)
    copy.publish()
    assert (copy.view["n"], told(copy)) == (5, [(1, None, False)])


def test_an_accepted_write_that_a_snapshot_holds_is_shown_once_and_told_once() -> None:
    host = reign(START, "me")
    copy = a_copy(host)
    entry = entry_of(host.propose("me", write(copy).proposal))
    write(copy, {"$push": {"list": 2}})
    host.log.reset(*host.state.pair)
    bring_up(host, copy, decided=1)
    copy.publish()
    assert told(copy) == [(1, None, False)]
    assert to_plain(copy.view) == {"n": 1, "list": [1, 2]}
    copy.decide(Decision(1, entry.version))  # said again when the peer is attached
    copy.publish()
    assert told(copy) == []
    assert list(copy.writes.pending) == [2]


def test_an_entry_of_a_lost_reign_that_was_not_shown_yet_is_no_outcome() -> None:
    host = reign(START, "me")
    copy = a_copy(host)
    heir = new_state()
    heir.restore(host.state.encode())
    take(copy, entry_of(host.propose("me", write(copy).proposal)))
    new = reign(state=heir, epoch=2)  # it never had that entry
    bring_up(new, copy)
    copy.publish()
    assert told(copy) == []
    assert list(copy.writes.pending) == [1]
    assert copy.view["n"] == 1
    assert copy.state.document["n"] == 0


def test_an_entry_of_a_lost_reign_that_was_told_is_pending_again() -> None:
    host = reign(START, "me")
    copy = a_copy(host)
    heir = new_state()
    heir.restore(host.state.encode())
    take(copy, entry_of(host.propose("me", write(copy).proposal)))
    copy.publish()
    assert told(copy) == [(1, None, False)]
    bring_up(reign(state=heir, epoch=2), copy)
    copy.publish()
    assert list(copy.writes.pending) == [1]
    assert (copy.view["n"], copy.state.document["n"]) == (1, 0)


def test_a_write_made_before_there_is_anything_is_shown_on_the_first_snapshot() -> None:
    host = reign(START, "me")
    copy = new_replica("me")
    bring_up(host, copy)
    write(copy)
    assert "n" not in copy.view
    copy.publish()
    assert copy.view["n"] == 1


def test_what_was_torn_and_is_the_best_there_is_is_shown_with_what_is_pending() -> None:
    host = reign(START, "me")
    copy = a_copy(host)
    write(copy)
    copy.state.torn = True
    assert copy.pair == (0, 0)
    copy.restart()
    copy.publish()
    assert copy.view_pair == copy.pair == host.state.pair
    assert copy.view["n"] == 1


def test_a_cached_snapshot_is_reused_while_it_and_the_entries_since_are_shorter() -> None:
    host = reign({"text": "x" * 400}, "me")
    source = replica_of(host)
    _, first = source.catch_up(0, 0)
    host.propose("me", proposal(1))
    was_snapshot, frames = source.catch_up(0, 0)
    assert was_snapshot
    assert frames[:-1] == first
    for number in range(2, 30):
        host.propose("me", proposal(number))
    _, anew = source.catch_up(0, 0)
    assert len(anew) == len(first)
    source.forget_encoding()
    assert source.catch_up(0, 0) == (True, anew)


def test_a_conflict_is_told_with_the_value_and_the_patches_since_its_base() -> None:
    host = reign(START, "me", "other")
    copy = a_copy(host)
    mine = write(copy, {"$set": {"n": 5}}, timestamp=1)
    entry = entry_of(host.propose("other", proposal(1, {"$set": {"n": 7}}, timestamp=2)))
    decision = host.propose("me", mine.proposal)
    take(copy, entry)
    assert isinstance(decision, Decision)
    copy.decide(decision)
    copy.publish()
    (outcome,) = copy.published().outcomes
    error = outcome.error
    assert isinstance(error, ConflictError)
    assert (error.path, error.value, error.version) == ("/n", 7, entry.version)
    assert error.patches == [
        {"version": entry.version, "epoch": 1, "peer": "other", "patch": entry.body}
    ]


def test_the_founder_shows_its_object_and_what_it_has_written_before() -> None:
    copy = new_replica("me")
    copy.bootstrap(START, {})
    write(copy)
    copy.publish()
    assert to_plain(copy.view) == {"n": 1, "list": [1]}


def test_an_own_entry_of_an_earlier_life_is_shown_and_told_to_nobody() -> None:
    host = reign(START, "me")
    copy = a_copy(host)
    take(copy, entry_of(host.propose("me", proposal(1))))
    copy.publish()
    assert copy.view["n"] == 1
    assert told(copy) == []


def test_no_snapshot_is_sent_that_is_older_than_what_the_peer_has() -> None:
    host = reign(START, "me")
    source = replica_of(host)
    old = source.catch_up(0, 0)[1]
    entry_of(host.propose("me", proposal(1)))
    epoch, version = host.state.pair
    assert source.catch_up(0, 0)[1][: len(old)] == old  # one encoding serves all
    host.log.append(Entry(epoch + 1, version + 1, "h", 0, 0, "event", {}), b"")
    snapshot, frames = source.catch_up(epoch, version + 1)  # a pair that the log does not hold
    assert snapshot
    assert frames[: len(old)] != old


def test_what_a_snapshot_brings_is_reported_with_its_version() -> None:
    host = reign(START, "me", "other")
    copy = a_copy(host)
    reported: list[tuple[Any, int]] = []

    class Listener(ViewListener):
        def changed(self, operations: list[Operation] | None, own: bool) -> None:
            reported.append((copy.view["n"], copy.view_pair[1]))

    copy._changed = Listener().changed
    for number in range(1, 4):
        entry_of(host.propose("other", proposal(number)))
    host.log.reset(*host.state.pair)
    bring_up(host, copy)
    copy.publish()
    assert reported == [(3, host.state.version)]
