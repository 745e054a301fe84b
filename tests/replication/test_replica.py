"""A replica is brought level by entries where the log holds its pair, else by a snapshot."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from memsync.document import encoded
from memsync.errors import ProtocolError
from memsync.replication.codec import HEADER
from memsync.replication.codec import decode as parse
from memsync.replication.entries import Decision, Entry, History, SnapshotChunk
from memsync.replication.pending import PendingWrite
from memsync.replication.replica import Replica
from memsync.replication.sequencer import Sequencer

from .builders import chunk_of, entry_of, new_replica, proposal, reign, replica_of, take


def bring_up(source: Sequencer | Replica[PendingWrite], target: Replica[PendingWrite]) -> bool:
    """Send what is missing; returns whether that was a snapshot."""
    replica = source if isinstance(source, Replica) else replica_of(source)
    snapshot, frames = replica.catch_up(*target.pair)
    feed(target, frames)
    assert target.pair == replica.pair
    assert target.state.document == replica.state.document
    return snapshot


def feed(target: Replica[PendingWrite], frames: list[bytes]) -> None:
    """Take in entries and chunks of a snapshot."""
    for each in frames:
        message = parse(each[HEADER:])
        if isinstance(message, Entry):
            take(target, message)
        else:
            target.add_chunk(chunk_of(each))


def test_a_newcomer_gets_a_snapshot_and_then_entries() -> None:
    host, copy = reign({"n": 0}, "w"), new_replica()
    assert copy.pair == (0, 0)
    assert bring_up(host, copy) is True
    for number in (1, 2, 3):
        entry_of(host.propose("w", proposal(number)))
    assert bring_up(host, copy) is False
    assert copy.state.document == {"n": 3}
    assert bring_up(host, copy) is False


def test_who_fell_behind_the_log_gets_a_snapshot() -> None:
    host, copy = reign({"n": 0}, "w"), new_replica()
    bring_up(host, copy)
    host.log.max_entries = 2
    for number in (1, 2, 3):
        host.propose("w", proposal(number))
    assert bring_up(host, copy) is True


def test_who_went_another_way_in_a_lost_reign_gets_a_snapshot() -> None:
    old = reign({"n": 0}, "w")
    ahead, behind = new_replica(), new_replica()
    bring_up(old, ahead)
    bring_up(old, behind)
    take(ahead, entry_of(old.propose("w", proposal(1))))
    new = reign(epoch=2, state=behind.state)
    assert new.state.version >= ahead.state.version
    assert bring_up(new, ahead) is True
    assert ahead.pair == (2, new.state.version)


def test_a_replica_can_bring_another_one_level() -> None:
    host, one, two = reign({"n": 0}, "w"), new_replica(), new_replica()
    bring_up(host, one)
    bring_up(host, two)
    take(one, entry_of(host.propose("w", proposal(1))))
    assert bring_up(one, two) is False
    assert bring_up(one, new_replica()) is True


def test_the_parts_of_a_snapshot_count_only_together() -> None:
    host, copy = reign({"text": "x" * 3_000_000}, "w"), new_replica()
    _, frames = replica_of(host).catch_up(0, 0)
    chunks = [chunk_of(each) for each in frames]
    assert len(chunks) > 2
    assert [copy.add_chunk(chunk) for chunk in chunks[:2]] == [False, False]
    assert copy.pair == (0, 0)
    copy.drop_chunks()  # the connection broke; the next one begins anew
    assert [copy.add_chunk(chunk) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert copy.state.document == host.state.document


def test_a_torn_replica_vouches_for_nothing_and_is_mended_by_a_snapshot() -> None:
    host, copy = reign({"n": 0}, "w"), new_replica()
    bring_up(host, copy)
    copy.state.torn = True
    assert copy.pair == (0, 0)
    assert bring_up(host, copy) is True
    assert copy.pair == (host.state.epoch, host.state.version)


def test_a_broken_snapshot_leaves_the_replica_as_it_was() -> None:
    host, copy = reign({"n": 0}, "w"), new_replica()
    bring_up(host, copy)
    before = copy.pair
    with pytest.raises(ProtocolError):
        copy.add_chunk(SnapshotChunk(b"\xc1", True))
    assert copy.pair == before
    assert bring_up(host, copy) is False


def test_one_encoding_serves_all_who_come_at_about_the_same_time() -> None:
    host = reign({"n": 0, "text": "x" * 1000}, "w")
    copy = replica_of(host)
    _, first = copy.catch_up(0, 0)
    entry_of(host.propose("w", proposal(1)))
    is_snapshot, second = copy.catch_up(0, 0)
    assert is_snapshot
    assert second[: len(first)] == first
    assert all(a is b for a, b in zip(first, second, strict=False))
    newcomer = new_replica()
    assert bring_up(copy, newcomer) is True
    assert newcomer.state.document["n"] == 1


def test_a_cached_snapshot_is_dropped_when_entries_are_longer_or_a_peer_is_ahead() -> None:
    host = reign({"n": 0}, "w")
    copy = replica_of(host)
    copy.catch_up(0, 0)
    version = host.state.version
    for number in range(1, 4):
        entry_of(host.propose("w", proposal(number, {"$set": {"pad": "x" * 1000 + str(number)}})))
    assert len(copy.catch_up(0, 0)[1]) == 1  # nothing but the new encoding
    entry_of(host.propose("w", proposal(4)))
    assert len(copy.catch_up(0, 0)[1]) == 2
    assert len(copy.catch_up(0, 0, version + 3)[1]) == 2
    assert len(copy.catch_up(0, 0, version + 4)[1]) == 1
    copy.forget_encoding()
    entry_of(host.propose("w", proposal(5)))
    assert len(copy.catch_up(0, 0)[1]) == 1


def test_a_snapshot_brings_the_entries_that_others_lack() -> None:
    """Whoever gets it may be the next host, and others then catch up by entries."""
    host, other, newcomer, last = reign({"n": 0}, "w"), *(new_replica() for _ in range(3))
    bring_up(host, other)
    for number in range(1, 4):
        entry_of(host.propose("w", proposal(number)))
    source = replica_of(host)
    _, frames = source.catch_up(0, 0, oldest=other.state.version)
    feed(newcomer, frames)
    assert newcomer.pair == source.pair
    assert newcomer.log.since(*other.pair) == source.log.since(*other.pair)
    assert bring_up(newcomer, other) is False
    assert other.state.document["n"] == 3
    entry_of(host.propose("w", proposal(4)))
    _, again = source.catch_up(0, 0, oldest=source.state.version - 1)
    assert again[0] is frames[0]  # its history is long enough
    _, longer = source.catch_up(0, 0, oldest=0)
    feed(last, longer)
    assert last.log.base_version == source.log.base_version


def broken(history: History) -> Iterator[History]:
    """Histories that do not lead from their pair to the version 4 of epoch 1."""
    yield msgspec.structs.replace(history, version=1)
    yield msgspec.structs.replace(history, epoch=2)
    yield msgspec.structs.replace(history, bodies=history.bodies[:-1])
    yield msgspec.structs.replace(history, bodies=[*history.bodies, history.bodies[-1]])
    yield msgspec.structs.replace(history, bodies=[b"\xc1", *history.bodies[1:]])
    yield msgspec.structs.replace(history, bodies=[encoded(Decision(1, 1)), *history.bodies[1:]])


def test_a_history_that_does_not_lead_to_its_snapshot_is_refused() -> None:
    host = reign({"n": 0}, "w")
    for number in range(1, 4):
        entry_of(host.propose("w", proposal(number)))
    source = replica_of(host)
    history = source.log.history(0)
    assert history is not None
    for each in broken(history):
        copy = new_replica()
        with pytest.raises(ProtocolError):
            copy.add_chunk(SnapshotChunk(bytes(host.state.encode(each)), True))
        assert (len(copy.log), copy.log.version) == (0, copy.state.version)
        assert bring_up(host, copy) is False


def test_what_was_encoded_of_another_network_is_not_handed_out() -> None:
    old, new = reign({"of": "old"}, "w"), reign({"of": "new"}, "w")
    new.state.cluster_id = "0"
    copy, newcomer = new_replica(), new_replica()
    bring_up(old, copy)
    bring_up(copy, new_replica())
    for each in replica_of(new).catch_up(0, 0)[1]:
        copy.add_chunk(chunk_of(each))
    assert bring_up(copy, newcomer) is True
    assert newcomer.state.document == {"of": "new"}


def test_the_only_copy_goes_on_after_an_interrupt_with_its_own_writes() -> None:
    host, copy = reign({"n": 0}, "w"), new_replica("w")
    bring_up(host, copy)
    copy.publish()
    for number in (1, 2):
        copy.show(PendingWrite(proposal(number)))
    take(copy, entry_of(host.propose("w", proposal(1))))
    copy.state.torn = True  # interrupted before the entry was settled
    copy.restart()
    copy.publish()
    assert [outcome.write.proposal.number for outcome in copy.published().outcomes] == [1]
    assert copy.pair == host.state.pair
    assert (copy.state.document["n"], copy.view["n"]) == (1, 2)


def test_a_refusal_that_a_torn_copy_has_not_shown_is_left_to_the_next_host() -> None:
    host, copy = reign({"n": 0, "s": "text"}, "w"), new_replica("w")
    bring_up(host, copy)
    copy.publish()
    for number, body in ((1, {"$inc": {"s": 1}}), (2, None)):
        copy.show(PendingWrite(proposal(number, body)))
    refusal = host.propose("w", proposal(1, {"$inc": {"s": 1}}))
    assert isinstance(refusal, Decision)
    copy.decide(refusal)
    copy.state.torn = True
    state = new_replica()
    bring_up(host, state)
    new = reign(epoch=2, state=state.state)  # it has not heard of the refusal
    new.attach("w", copy.writes.first_open, copy.writes.first_unknown)
    bring_up(new, copy)
    copy.publish()
    for write in copy.writes.after(0):
        new.propose("w", write.proposal)
    assert new.last("w") == 2


def test_a_write_made_while_the_copy_is_being_replaced_shows_when_it_has_been() -> None:
    host, copy = reign({"n": 5}, "w"), new_replica("w")
    _, frames = replica_of(host).catch_up(0, 0)
    for each in frames:
        copy.add_chunk(chunk_of(each))
    copy.show(PendingWrite(proposal(1)))
    assert copy.view == {}
    copy.publish()
    assert copy.view == {"n": 6}


def test_in_another_network_a_copy_goes_on_as_if_it_held_nothing() -> None:
    mine, theirs = reign({"n": 0}, "me"), reign({"n": 100}, "me")
    mine.state.cluster_id, theirs.state.cluster_id = "late", "early"
    copy = new_replica("me")
    bring_up(mine, copy)
    assert (copy.cluster_id, copy.pair) == ("late", (1, 2))
    copy.publish()
    for number in (1, 2, 3):
        copy.show(PendingWrite(proposal(number)))
    for number in (1, 2):
        take(copy, entry_of(mine.propose("me", proposal(number))))
    copy.publish()
    for outcome in copy.published().outcomes:
        outcome.write.resolve(outcome.version, None)
    assert copy.pair > theirs.state.pair  # which says nothing: it is another history
    _, frames = replica_of(theirs).catch_up(0, 0)
    for each in frames:
        copy.add_chunk(chunk_of(each))
    copy.publish()
    assert (copy.cluster_id, copy.pair) == ("early", theirs.state.pair)
    published = copy.published()
    assert (published.replaced, published.forgotten) == (2, 0)
    assert (copy.view_cluster_id, copy.view_pair, copy.view) == ("late", (1, 4), {"n": 3})
    copy.show(PendingWrite(proposal(4, {"$set": {"late": 1}})))  # it shows with the others
    theirs = reign(state=theirs.state, epoch=7)
    take(copy, theirs.log.newest(2, 1, 1000)[0])
    copy.publish()
    assert (copy.view_cluster_id, copy.view_pair) == ("early", (7, 3))
    proposals = [write.proposal for write in copy.writes.pending.values()]
    assert [(each.number, each.epoch, each.version) for each in proposals] == [(3, 0, 0), (4, 0, 0)]
    assert copy.view == {"n": 101, "late": 1}
    theirs.attach("me", copy.writes.first_open, copy.writes.first_unknown)
    for proposed in proposals:
        take(copy, entry_of(theirs.propose("me", proposed)))
    copy.publish()
    assert copy.view == {"n": 101, "late": 1}
    assert not copy.writes.pending


def test_a_snapshot_of_the_same_network_does_not_go_back() -> None:
    host, copy = reign({"n": 0}, "w"), new_replica()
    _, old = replica_of(host).catch_up(0, 0)
    host.propose("w", proposal(1))
    bring_up(host, copy)
    with pytest.raises(ProtocolError, match="is older than"):
        copy.add_chunk(chunk_of(old[0]))


def test_a_torn_copy_and_an_empty_one_are_of_no_network() -> None:
    copy = new_replica()
    copy.bootstrap({"n": 1}, {}, "one")
    assert copy.cluster_id == ""
    host = reign({"n": 0})
    host.state.cluster_id = "one"
    bring_up(host, copy)
    assert copy.cluster_id == "one"
    copy.state.torn = True
    assert copy.cluster_id == ""
