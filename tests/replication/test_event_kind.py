"""G10: events in the log: what is accepted, one entry with a patch, and an exact count."""

from __future__ import annotations

from typing import Any

import pytest

from memsync.errors import (
    ConflictError,
    NotSerializableError,
    ReadOnlyError,
    TooLargeError,
    UsageError,
    from_wire,
)
from memsync.replication.codec import HEADER, decode, frame
from memsync.replication.entries import Decision, Propose
from memsync.replication.kinds import event as kind
from memsync.replication.kinds.event import (
    check_event_pattern,
    checked_event,
    event_count,
    events_in_common,
    events_up_to,
)
from memsync.replication.sequencer import Sequencer

from .builders import entry_of, hello, new_replica, new_state, proposal, reign, take


def event(number: int, name: Any = "done", *arguments: Any, **changes: Any) -> Propose:
    """The proposal of an event."""
    fields = {"kind": "event", "event": [name, list(arguments)]} | changes
    return Propose(number, 1, number << 16, 1, 1, body=None, **fields)


def refusal(result: object) -> Exception:
    assert isinstance(result, Decision)
    assert result.error is not None
    return from_wire(result.error)


def test_an_event_is_an_entry_that_changes_no_value() -> None:
    host = reign({"n": 1}, "w")
    before = host.state.version
    entry = entry_of(host.propose("w", event(1, "job.done", 7, {"a": None})))
    assert (entry.kind, entry.event) == ("event", ["job.done", [7, {"a": None}]])
    assert (entry.version, host.state.document, event_count(host.state)) == (
        before + 1,
        {"n": 1},
        1,
    )
    assert decode(frame(entry)[HEADER:]) == entry
    assert isinstance(host.propose("w", event(1, "job.done")), Decision)  # exactly once
    assert event_count(host.state) == 1


def test_an_event_and_a_patch_are_one_entry_also_where_nothing_changes() -> None:
    host = reign({"n": 1}, "w")
    entry = entry_of(host.propose("w", proposal(1, event=["done", [1]])))
    assert (entry.body[0]["value"], entry.event) == (2, ["done", [1]])
    same = entry_of(host.propose("w", proposal(2, {"$set": {"n": 2}}, event=["same", []])))
    assert (same.kind, same.body, same.written, same.event) == ("patch", [], [], ["same", []])
    assert isinstance(host.propose("w", proposal(3, {"$set": {"n": 2}})), Decision)
    copy = new_state()
    copy.restore(host.state.encode())
    assert event_count(copy) == 2


@pytest.mark.parametrize(
    "refused",
    [
        proposal(1, where={"n": 5}, event=["done", []]),
        proposal(1, {"$inc": {"text": 1}}, event=["done", []]),
        proposal(1, [{"op": "test", "path": "/n", "value": 9}], event=["done", []]),
    ],
)
def test_a_refused_patch_emits_nothing(refused: Propose) -> None:
    host = reign({"n": 1, "text": ""}, "w")
    refusal(host.propose("w", refused))
    assert event_count(host.state) == 0


def test_a_conflict_emits_nothing() -> None:
    host = reign({"n": 1}, "w", "v")
    host.propose("v", proposal(1, {"$set": {"n": 5}}, timestamp=9 << 16))
    lost = host.propose("w", proposal(1, {"$set": {"n": 6}}, event=["done", []]))
    assert isinstance(refusal(lost), ConflictError)
    assert event_count(host.state) == 0


BAD: list[tuple[Any, type[Exception]]] = [
    (["", []], UsageError),
    (["a..b", []], UsageError),
    ([".a", []], UsageError),
    (["a.", []], UsageError),
    (["a.*", []], UsageError),
    (["**", []], UsageError),
    (["a*", []], UsageError),
    (["x" * 301, []], UsageError),
    ([5, []], UsageError),
    ([None, []], UsageError),
    (["a", "text"], UsageError),
    (["a"], UsageError),
    (["a", [], 1], UsageError),
    (["a", [b"bytes"]], NotSerializableError),
    (["a", [1 << 63]], NotSerializableError),
    (["\ud800", []], NotSerializableError),
    (["a", ["x" * kind.EVENT_BYTES]], TooLargeError),
]


@pytest.mark.parametrize(("wrong", "error"), BAD)
@pytest.mark.parametrize("of", ["event", "patch"])
def test_g13_the_host_refuses_what_a_forged_proposal_carries(
    wrong: Any, error: type[Exception], of: str
) -> None:
    host = reign({"n": 1}, "w")
    before = host.state.version
    forged = event(1, event=wrong) if of == "event" else proposal(1, event=wrong)
    assert isinstance(refusal(host.propose("w", forged)), error)
    assert (host.state.version, host.state.document) == (before, {"n": 1})
    with pytest.raises(error):
        checked_event(wrong)
    entry_of(host.propose("w", event(2)))


def test_a_proposal_without_its_event_is_refused() -> None:
    host = reign({}, "w")
    assert isinstance(refusal(host.propose("w", event(1, event=None))), UsageError)


def test_a_member_without_the_role_writer_emits_but_does_not_write() -> None:
    host = reign({"n": 1})
    host.append_system("member", {"join": hello("reader", ()).member()})
    host.attach("reader", 1)
    entry_of(host.propose("reader", event(1)))
    assert isinstance(refusal(host.propose("reader", proposal(2, event=["x", []]))), ReadOnlyError)


@pytest.mark.parametrize("pattern", ["a", "a.b", "*", "**", "a.*", "*.b.**", "a.*.c"])
def test_patterns_have_wildcards_as_whole_parts(pattern: str) -> None:
    assert check_event_pattern(pattern) == pattern.split(".")


@pytest.mark.parametrize("pattern", ["", "a*", "*a.b", "***", "**.a", "a..b", 5])
def test_other_patterns_are_refused(pattern: Any) -> None:
    with pytest.raises(UsageError):
        check_event_pattern(pattern)


def test_a_writer_drops_a_refused_write_that_only_its_event_reports() -> None:
    """The decision was lost with the host, and rides along in the entry of an event."""
    host = reign({"n": 1, "text": ""}, "me")
    me = new_replica("me")
    for encoded in me_frames(host):
        message = decode(encoded[HEADER:])
        me.add_chunk(message)  # type: ignore[arg-type]
    me.publish()
    from memsync.replication.pending import PendingWrite

    refused = proposal(1, {"$set": {"n": 2}}, where={"n": 1})
    me.show(PendingWrite(refused))
    emitted = event(2)
    me.show(PendingWrite(emitted))
    assert me.view == {"n": 2, "text": ""}
    host.state.document["n"] = 1
    refused.where = {"n": 5}
    refusal(host.propose("me", refused))
    entry = entry_of(host.propose("me", emitted))
    assert [number for number, _, _ in entry.decided] == [1]
    take(me, entry)
    published = me.publish()
    assert [o.rolled_back for o in published.outcomes] == [True, False]
    assert me.view == {"n": 1, "text": ""}


def me_frames(host: Sequencer) -> list[bytes]:
    """A snapshot for a newcomer."""
    from .builders import replica_of

    return replica_of(host).catch_up(0, 0)[1]


def emit(host: Sequencer, first: int, count: int) -> None:
    for number in range(first, first + count):
        entry_of(host.propose("w", event(number)))


def test_versions_give_the_number_of_events_before_them() -> None:
    host = reign({}, "w")
    assert events_up_to(host.state, 0) == events_up_to(host.state, host.state.version) == 0
    start = host.state.version
    emit(host, 1, 3)
    entry_of(host.propose("w", proposal(4)))
    emit(host, 5, 1)
    assert [events_up_to(host.state, start + k) for k in range(6)] == [0, 1, 2, 3, 3, 4]


def test_a_newcomer_knows_the_number_of_events_from_its_snapshot_on() -> None:
    host, copy = reign({}, "w"), new_state()
    emit(host, 1, 3)
    copy.restore(host.state.encode())
    at = copy.version
    assert (events_up_to(copy, 0), events_up_to(copy, at - 1), events_up_to(copy, at)) == (
        0,
        None,
        3,
    )
    copy.apply(entry_of(host.propose("w", proposal(4))))
    copy.apply(entry_of(host.propose("w", event(5))))
    assert [events_up_to(copy, at + k) for k in (-1, 1, 2)] == [None, 3, 4]


def test_the_oldest_versions_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "_MAX_VERSIONS", 4)
    host = reign({}, "w")
    start = host.state.version
    emit(host, 1, 20)
    known = [events_up_to(host.state, start + k) for k in range(21)]
    assert known[-5:] == [16, 17, 18, 19, 20]
    assert None in known
    assert all(each in (None, k) for k, each in enumerate(known) if k)


def test_events_in_common_where_entries_were_lost_with_their_host() -> None:
    """One peer has two events that the next host lacks, and missed three of the next epoch."""
    host = reign({}, "w")
    emit(host, 1, 2)
    lost = host.state.pair[0], host.state.version + 2, 4
    following = reign(state=host.state, epoch=2)
    following.attach("w", 3)
    emit(following, 3, 3)
    assert events_in_common(host.state, *lost) == 2
    assert events_in_common(host.state, 1, host.state.epochs[-1][1] - 1, 2) == 2
    assert events_in_common(host.state, *host.state.pair, 5) == 5
