"""The sequencer: one peer's proposals strictly in sequence, each decided once (G1, G2, G5)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from memsync.errors import (
    ConditionError,
    MemErrors,
    ProtocolError,
    ReadOnlyError,
    TooLargeError,
    from_wire,
)
from memsync.replication.clock import COUNTER_BITS
from memsync.replication.entries import Decision
from memsync.replication.pending import PendingWrite, PendingWrites
from memsync.replication.sequencer import Gap, Ordered, Sequencer

from .builders import HOST, entry_of, hello, new_state, proposal, reign

BAD = {"$inc": {"s": 1}}  # the field s is a string
SAME = {"$set": {"s": "text"}}  # changes nothing


def error_of(decision: object) -> Any:
    """The error of a refusal; the kinds of error have attributes of their own."""
    assert isinstance(decision, Decision)
    assert decision.error is not None
    return from_wire(decision.error)


@pytest.fixture
def host() -> Sequencer:
    """A host with two writers, after the entries of the epoch and of the members."""
    return reign({"n": 0, "s": "text", "big": "x" * 500}, "w", "v", max_frame=2000)


def test_an_accepted_proposal_becomes_the_next_entry_with_its_compiled_patch(
    host: Sequencer,
) -> None:
    before = host.state.version
    result = host.propose("w", proposal(1, timestamp=99))
    entry = entry_of(result)
    assert (entry.epoch, entry.version, entry.peer, entry.number) == (1, before + 1, "w", 1)
    assert (entry.timestamp, entry.kind, entry.acked_below, entry.decided) == (99, "patch", 1, [])
    assert entry.body == [{"op": "replace", "path": "/n", "value": 1}]
    assert host.state.document["n"] == 1
    assert host.log.version == host.state.version == before + 1
    assert host.last("w") == 1


def test_g1_the_peers_share_one_order_and_each_has_its_own_numbers(host: Sequencer) -> None:
    results = [host.propose(p, proposal(i)) for i in (1, 2) for p in ("w", "v")]
    versions = [entry_of(result).version for result in results]
    assert versions == list(range(versions[0], versions[0] + 4))


def test_a_gap_is_asked_to_be_filled_and_nothing_is_decided(host: Sequencer) -> None:
    for number in (2, 3, 2**40):
        assert host.propose("w", proposal(number)) == Gap(1)
    assert host.state.document["n"] == 0
    assert host.last("w") == 0
    entry_of(host.propose("w", proposal(1)))
    assert host.propose("w", proposal(3)) == Gap(2)


def test_g2_a_duplicate_gets_the_old_answer_and_does_not_run_again(host: Sequencer) -> None:
    version = entry_of(host.propose("w", proposal(1))).version
    host.propose("v", proposal(1))
    assert host.propose("w", proposal(1)) == Decision(1, version, made_entry=True)
    assert host.state.document["n"] == 2


@pytest.mark.parametrize("error", [RuntimeError("of a signal handler"), KeyboardInterrupt()])
def test_g2_a_proposal_on_which_the_host_fails_is_decided_by_its_next_try(
    host: Sequencer, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(host.state.kind("patch"), "order", fail)
        with pytest.raises(type(error)):
            host.propose("w", proposal(1))
    assert host.last("w") == 0
    assert entry_of(host.propose("w", proposal(1))).number == 1
    assert host.state.document["n"] == 1


def test_a_refused_proposal_is_decided_with_its_error_and_changes_nothing(host: Sequencer) -> None:
    version = host.state.version
    error = error_of(host.propose("w", proposal(1, BAD)))
    assert error.code is MemErrors.ERR_UPDATE
    assert (host.state.version, host.last("w")) == (version, 1)


def test_g5_an_update_that_fails_at_its_last_operator_leaves_nothing_of_the_first(
    host: Sequencer,
) -> None:
    before = dict(host.state.document)
    error_of(host.propose("w", proposal(1, {"$inc": {"n": 1}, "$set": {"a": 1}, "$pop": {"s": 1}})))
    assert host.state.document == before


def test_g2_a_refusal_is_repeated_as_long_as_the_peer_may_not_have_read_it(host: Sequencer) -> None:
    refusal = host.propose("w", proposal(1, BAD))
    assert host.propose("w", proposal(1, BAD)) == refusal
    # The state may meanwhile have become one in which it would go through.
    host.propose("v", proposal(1, {"$set": {"s": 1}}))
    assert host.propose("w", proposal(1, BAD)) == refusal
    assert host.state.document["s"] == 1


def test_an_update_without_effect_is_decided_without_an_entry(host: Sequencer) -> None:
    version = host.state.version
    for number in (1, 2):
        assert host.propose("w", proposal(number, SAME)) == Decision(number, version)
    assert host.state.version == version


def test_what_made_no_entry_rides_along_with_the_peers_next_entry(host: Sequencer) -> None:
    version = host.state.version
    refusal = host.propose("w", proposal(1, BAD))
    host.propose("w", proposal(2, SAME))
    host.propose("v", proposal(1))
    assert isinstance(refusal, Decision)
    entry = entry_of(host.propose("w", proposal(3)))
    assert entry.decided == [[1, version, refusal.error], [2, version, None]]
    assert entry_of(host.propose("w", proposal(4))).decided == []


def test_what_the_peer_has_read_does_not_ride_along(host: Sequencer) -> None:
    host.propose("w", proposal(1, BAD))
    host.propose("w", proposal(2, SAME))
    entry = entry_of(host.propose("w", proposal(3, acked_below=2)))
    assert [number for number, *_ in entry.decided] == [2]


def next_reign(host: Sequencer) -> Sequencer:
    """The host has died; a copy that has all its entries hosts."""
    state = new_state()
    state.restore(host.state.encode())
    return reign(epoch=host.epoch + 1, state=state)


def test_g2_the_next_host_knows_refusals_that_rode_along_with_an_entry(host: Sequencer) -> None:
    refusal = host.propose("w", proposal(1, BAD))
    accepted = entry_of(host.propose("w", proposal(2)))
    new = next_reign(host)
    assert new.attach("w", 1) == [refusal, Decision(2, accepted.version, made_entry=True)]
    assert new.last("w") == 2
    assert new.propose("w", proposal(1, BAD)) == refusal
    assert new.propose("w", proposal(2)) == Decision(2, accepted.version, made_entry=True)
    assert new.state.document["n"] == 1
    entry_of(new.propose("w", proposal(3)))


def test_g2_a_refusal_that_was_lost_with_its_host_is_decided_anew(host: Sequencer) -> None:
    host.propose("w", proposal(1, BAD))
    new = next_reign(host)
    assert new.attach("w", 1) == []
    assert new.last("w") == 0
    assert error_of(new.propose("w", proposal(1, BAD))).code is MemErrors.ERR_UPDATE


def test_the_next_host_goes_on_after_a_refusal_it_never_saw(
    host: Sequencer,
) -> None:
    host.propose("w", proposal(1, BAD))
    new = next_reign(host)
    assert new.attach("w", 2) == []
    assert isinstance(new.propose("w", proposal(3)), Gap)
    assert entry_of(new.propose("w", proposal(2))).number == 2
    assert new.last("w") == 2


def test_g3_the_next_host_orders_entries_it_lacks_again_under_their_numbers(
    host: Sequencer,
) -> None:
    """The peer was frozen through the recovery, and nobody else had these entries."""
    new = next_reign(host)
    writes: PendingWrites[PendingWrite] = PendingWrites(keep=10)
    for number, body in enumerate((None, BAD, None), 1):
        writes.add(PendingWrite(proposal(number, body)))
        result = host.propose("w", writes.pending[number].proposal)
        writes.complete(number, made_entry=not isinstance(result, Decision))
    new.attach("w", writes.first_open)
    writes.recall(new.last("w"))
    writes.add(PendingWrite(proposal(4)))
    answers = [new.propose("w", w.proposal) for w in writes.after(new.last("w"))]
    assert [entry_of(answer).number for answer in answers] == [1, 3, 4]
    assert new.state.document["n"] == 3


def test_a_peer_that_attaches_again_goes_on_where_it_was(host: Sequencer) -> None:
    host.propose("w", proposal(1))
    refusal = host.propose("w", proposal(2, BAD))
    decisions = host.attach("w", 2)
    assert decisions == [refusal]
    assert host.last("w") == 2
    assert host.propose("w", proposal(4)) == Gap(3)


def test_a_duplicate_whose_outcome_was_read_long_ago_is_answered_all_the_same(
    host: Sequencer,
) -> None:
    for number in (1, 2, 3):
        host.propose("w", proposal(number, acked_below=number))
    assert isinstance(host.propose("w", proposal(1)), Decision)
    assert host.state.document["n"] == 3


def test_a_peer_that_left_has_neither_place_nor_row(host: Sequencer) -> None:
    host.propose("w", proposal(1))
    host.leave("w")
    assert "w" not in host.state.members
    assert "w" not in host.state.sessions
    assert host.state.document["n"] == 1


def test_a_peer_without_the_role_writer_is_refused(host: Sequencer) -> None:
    host.append_system("member", {"join": hello("r", ()).member()})
    for peer in ("r", "stranger"):
        host.attach(peer, 1)
        error = error_of(host.propose(peer, proposal(1)))
        assert type(error) is ReadOnlyError
        assert peer in str(error)


def test_where_decides_on_the_hosts_state(host: Sequencer) -> None:
    entry_of(host.propose("w", proposal(1, where={"n": 0})))
    error = error_of(host.propose("v", proposal(1, where={"n": 0, "o.x": 1, "$or": [{"n": 0}]})))
    assert type(error) is ConditionError
    assert error.version == host.state.version
    assert error.value == {"n": 1, "o.x": None}
    assert "found" in str(error)


@pytest.mark.parametrize(
    ("path", "found"), [("o.list.1", 2), ("o.list.5", None), ("o.list.x", None), ("s.x", None)]
)
def test_an_unmet_where_shows_what_is_there_instead(path: str, found: object) -> None:
    host = reign({"o": {"list": [1, 2]}, "s": "text"}, "w")
    error = error_of(host.propose("w", proposal(1, where={path: "wanted"})))
    assert error.value == {path: found}


def test_a_where_that_is_none_refuses_the_proposal(host: Sequencer) -> None:
    assert error_of(host.propose("w", proposal(1, where={"$no": 1}))).code is MemErrors.ERR_UPDATE


def test_rfc_6902_operations_are_taken_as_well(host: Sequencer) -> None:
    body = [{"op": "test", "path": "/n", "value": 0}, {"op": "add", "path": "/a", "value": 1}]
    entry_of(host.propose("w", proposal(1, body)))
    assert host.state.document["a"] == 1
    body[0]["value"] = 5
    error_of(host.propose("w", proposal(2, body)))


def test_array_filters_go_with_the_update() -> None:
    host = reign({"list": [1, 5]}, "w")
    update = {"$set": {"list.$[x]": 0}}
    entry_of(host.propose("w", proposal(1, update, array_filters=[{"x": {"$gt": 2}}])))
    assert host.state.document["list"] == [1, 0]


def test_the_current_date_is_that_of_the_proposal(host: Sequencer) -> None:
    moment = datetime(2024, 2, 29, 12, tzinfo=UTC)
    timestamp = int(moment.timestamp() * 1000) << COUNTER_BITS
    entry_of(host.propose("w", proposal(1, {"$currentDate": {"t": True}}, timestamp=timestamp)))
    assert datetime.fromisoformat(host.state.document["t"]) == moment


def test_an_entry_over_the_frame_limit_is_refused_before_it_changes_anything(
    host: Sequencer,
) -> None:
    version = host.state.version
    error = error_of(
        host.propose("w", proposal(1, {"$set": {f"f{i}": "x" * 200 for i in range(10)}}))
    )
    assert type(error) is TooLargeError
    assert "2000" in str(error)
    assert (host.state.version, host.log.version) == (version, version)
    assert not host.state.torn
    entry_of(host.propose("w", proposal(2)))


def test_a_fault_of_the_compiler_refuses_the_proposal_and_spares_the_host(
    host: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr("memsync.replication.compile_proposal.compile_update", broken)
    error = error_of(host.propose("w", proposal(1)))
    assert error.code is MemErrors.ERR_UPDATE
    assert "a bug in memsync" in str(error)
    assert "on purpose" in str(error)
    monkeypatch.undo()
    entry_of(host.propose("w", proposal(2)))


@pytest.mark.parametrize("kind", ["note", "member", "journal", "rpc", "epoch"])
def test_a_kind_that_is_not_served_is_refused(host: Sequencer, kind: str) -> None:
    before = host.state.encode()
    error = error_of(host.propose("w", proposal(1, {"leave": "v"}, kind=kind)))
    assert type(error) is ProtocolError
    assert kind in str(error)
    assert host.state.encode() == before


def test_entries_of_the_host_carry_no_number_and_no_row(host: Sequencer) -> None:
    entry = host.append_system("member", {"leave": "nobody"}).entry
    assert (entry.peer, entry.number) == (HOST, 0)
    assert HOST not in host.state.sessions


def test_replicas_that_apply_the_entries_equal_the_host(host: Sequencer) -> None:
    copy = new_state()
    copy.restore(host.state.encode())
    for number, body in enumerate([None, BAD, SAME, {"$push": {"list": {"a": [1]}}}, None], 1):
        result = host.propose("w", proposal(number, body))
        if isinstance(result, Ordered):
            copy.apply(result.entry)
    assert copy.encode() == host.state.encode()


@pytest.mark.parametrize("body", [None, 5, "text", [5], {"$set": 5}, {5: {"a": 1}}])
def test_a_body_that_is_no_update_is_refused_as_such(host: Sequencer, body: object) -> None:
    before = host.state.encode()
    changed = proposal(1)
    changed.body = body
    error = error_of(host.propose("w", changed))
    assert error.code is MemErrors.ERR_UPDATE
    assert host.state.encode() == before


def test_a_long_error_is_cut_and_says_so(host: Sequencer) -> None:
    # The host's frames have 2,000 bytes at most, an error a quarter of that.
    where = {f"field{i}": i for i in range(50)}
    error = error_of(host.propose("w", proposal(1, where=where)))
    assert type(error) is ConditionError
    assert str(error).startswith("'where' does not match at version")
    assert str(error).endswith("...")
    assert error.value is None


def test_a_fault_in_naming_the_paths_refuses_the_proposal_and_spares_the_host(
    host: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(body: object) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr("memsync.replication.kinds.patch.write_set", broken)
    error = error_of(host.propose("w", proposal(1)))
    assert error.code is MemErrors.ERR_UPDATE
    assert "a bug in memsync" in str(error)
