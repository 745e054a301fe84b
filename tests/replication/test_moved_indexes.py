"""An index in an RFC 6902 list is the element that the writer saw, or the list is refused.

`ARRAY` is what both writers saw. One entry is ordered that the other one has not seen.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memsync.document import places_filled, to_plain
from memsync.errors import ConflictError, from_wire
from memsync.replication.entries import Decision
from memsync.replication.moved_indexes import UNSURE, first_relied_on
from memsync.replication.pending import PendingWrite, PendingWrites
from memsync.replication.sequencer import Ordered, Sequencer

from .builders import entry_of, new_state, proposal, reign

ARRAY = ["a", "b", "c", "d"]
START: dict[str, Any] = {
    "l": ARRAY,
    "m": [{"t": [1, 2, 3], "n": 0}, {"t": [4, 5, 6], "n": 0}],
    "o": {"l": [1, 2, 3]},
    "ids": {"0": {"n": 1}, "1": {"n": 2, "l": [1, 2]}, "2": {}},
    "n": 0,
    "x": [9, 8],
}
MODES = ["timestamp", "strict", "last"]


def op(kind: str, path: str, value: Any = None, source: str | None = None) -> dict[str, Any]:
    operation: dict[str, Any] = {"op": kind, "path": path}
    if source is not None:
        operation["from"] = source
    elif kind != "remove":
        operation["value"] = value
    return operation


REMOVE, REPLACE, ADD = "remove", "replace", "add"
# What the other peer did, and what a list must not do without having seen it.
MOVED: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "removed before, replace": ([op(REMOVE, "/l/0")], [op(REPLACE, "/l/1", "B")]),
    "removed itself, replace": ([op(REMOVE, "/l/1")], [op(REPLACE, "/l/1", "B")]),
    "both remove it": ([op(REMOVE, "/l/1")], [op(REMOVE, "/l/1")]),
    "inserted before, remove": ([op(ADD, "/l/0", "z")], [op(REMOVE, "/l/1")]),
    "inserted there, add": ([op(ADD, "/l/1", "z")], [op(ADD, "/l/1", "y")]),
    "inserted before, add": ([op(ADD, "/l/0", "z")], [op(ADD, "/l/2", "y")]),
    "moved within": ([op("move", "/l/3", source="/l/0")], [op(REPLACE, "/l/3", "D")]),
    "moved out": ([op("move", "/y", source="/l/0")], [op(REPLACE, "/l/1", "B")]),
    "moved in": ([op("move", "/l/0", source="/n")], [op(REPLACE, "/l/1", "B")]),
    "copied in": ([op("copy", "/l/0", source="/n")], [op(REPLACE, "/l/1", "B")]),
    "move from": ([op(REMOVE, "/l/0")], [op("move", "/y", source="/l/1")]),
    "move to": ([op(REMOVE, "/l/0")], [op("move", "/l/1", source="/n")]),
    "copy from": ([op(REMOVE, "/l/0")], [op("copy", "/y", source="/l/1")]),
    "copy to": ([op(REMOVE, "/l/0")], [op("copy", "/l/1", source="/n")]),
    "a test that holds": ([op(ADD, "/l/0", "a")], [op("test", "/l/1", "a"), op(ADD, "/y", 1)]),
    "a test, then a write": ([op(ADD, "/l/0", "a")], [op("test", "/l/1", "a"), op(REMOVE, "/l/1")]),
    "$pop of the first": ({"$pop": {"l": -1}}, [op(REPLACE, "/l/0", "B")]),
    "$pop of the last, itself": ({"$pop": {"l": 1}}, [op(REPLACE, "/l/3", "B")]),
    "$pull before": ({"$pull": {"l": "a"}}, [op(REPLACE, "/l/2", "B")]),
    "$pull by condition": ({"$pull": {"l": {"$lt": "c"}}}, [op(REMOVE, "/l/1")]),
    "$pullAll": ({"$pullAll": {"l": ["b"]}}, [op(REMOVE, "/l/2")]),
    "$push in front": ({"$push": {"l": {"$each": ["z"], "$position": 0}}}, [op(REMOVE, "/l/0")]),
    "$push inside": ({"$push": {"l": {"$each": ["z"], "$position": 2}}}, [op(REMOVE, "/l/3")]),
    "$push with $slice": ({"$push": {"l": {"$each": ["z"], "$slice": -4}}}, [op(REMOVE, "/l/0")]),
    "$sort": ({"$push": {"l": {"$each": [], "$sort": -1}}}, [op(REPLACE, "/l/0", "A")]),
    "$sort, one overwrites": (
        {"$push": {"x": {"$each": [], "$sort": 1}}},
        [op(REPLACE, "/x/1", 7)],
    ),
    "$set of the array": ({"$set": {"l": ["z", *ARRAY]}}, [op(REPLACE, "/l/1", "B")]),
    "$set above": ({"$set": {"o": {"l": [7, 8]}}}, [op(REPLACE, "/o/l/1", 5)]),
    "$min above": ({"$min": {"o": {"l": [0]}}}, [op(REPLACE, "/o/l/0", 5)]),
    "$rename to it": ({"$rename": {"x": "l"}}, [op(REPLACE, "/l/1", "B")]),
    "the array replaced": ([op(REPLACE, "/l", ["z", "b"])], [op(REPLACE, "/l/1", "B")]),
    "the array added again": ([op(REMOVE, "/l"), op(ADD, "/l", ["z", "b"])], [op(REMOVE, "/l/1")]),
    "the array copied onto": ([op("copy", "/l", source="/x")], [op(REPLACE, "/l/1", "B")]),
    "the array moved onto": ([op("move", "/o/l", source="/x")], [op(REPLACE, "/o/l/1", 5)]),
    "the object replaced": ([op(REPLACE, "", {"l": ["z", "b"]})], [op(REPLACE, "/l/1", "B")]),
    "an outer element gone": ([op(REMOVE, "/m/0")], [op(REPLACE, "/m/0/n", 5)]),
    "an outer element gone, inner": ([op(REMOVE, "/m/0")], [op(REPLACE, "/m/0/t/2", 5)]),
    "an inner one gone": ([op(REMOVE, "/m/1/t/0")], [op(REPLACE, "/m/1/t/1", 5)]),
    "inner ones popped": ({"$pop": {"m.$[].t": -1}}, [op(REPLACE, "/m/1/t/1", 5)]),
    "an outer element set": ({"$set": {"m.1": {"t": [7, 8]}}}, [op(REPLACE, "/m/1/t/1", 5)]),
    "outer elements set": ({"$set": {"m.$[].t": [7, 8]}}, [op(REPLACE, "/m/1/t/1", 5)]),
    "an element of an object": (
        [op(REMOVE, "/ids/1"), op(ADD, "/ids/1", {"l": [7, 8]})],
        [op(REPLACE, "/ids/1/l/0", 5)],
    ),
    "an own removal first": ([op(REMOVE, "/l/2")], [op(REMOVE, "/l/0"), op(REPLACE, "/l/1", "C")]),
    "two own removals first": (
        [op(REMOVE, "/l/3")],
        [op(REMOVE, "/l/0"), op(REMOVE, "/l/0"), op(REPLACE, "/l/1", "D")],
    ),
    "an own push first": ({"$push": {"l": "e"}}, [op(ADD, "/l/-", "f"), op(REPLACE, "/l/4", "F")]),
    "in an element behind an own removal": (
        [op(REMOVE, "/m/1/t/0")],
        [op(REMOVE, "/m/0"), op(REPLACE, "/m/0/t/0", 5)],
    ),
}
STAYED: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "removed behind": ([op(REMOVE, "/l/2")], [op(REPLACE, "/l/1", "B")]),
    "added behind": ([op(ADD, "/l/2", "z")], [op(REPLACE, "/l/1", "B")]),
    "added behind, both": ([op(ADD, "/l/2", "z")], [op(ADD, "/l/1", "y")]),
    "moved behind": ([op("move", "/l/3", source="/l/2")], [op(REMOVE, "/l/1")]),
    "$pop of the last": ({"$pop": {"l": 1}}, [op(REPLACE, "/l/2", "C")]),
    "$pull behind": ({"$pull": {"l": "d"}}, [op(REPLACE, "/l/0", "A")]),
    "$push": ({"$push": {"l": "e"}}, [op(REPLACE, "/l/3", "D")]),
    "a push of a list": ([op(ADD, "/l/-", "e")], [op(REPLACE, "/l/3", "D")]),
    "added at the end": ([op(ADD, "/l/4", "e")], [op(REPLACE, "/l/3", "D")]),
    "$addToSet": ({"$addToSet": {"l": "e"}}, [op(REPLACE, "/l/0", "A")]),
    "padded": ({"$set": {"l.6": "e"}}, [op(REPLACE, "/l/0", "A")]),
    "$slice of what is pushed": (
        {"$push": {"l": {"$each": ["e", "f"], "$slice": 5}}},
        [op(REPLACE, "/l/3", "D")],
    ),
    "another array": ([op(REMOVE, "/x/0")], [op(REPLACE, "/l/1", "B")]),
    "$pull that finds nothing": ({"$pull": {"l": "q"}, "$inc": {"n": 1}}, [op(REMOVE, "/l/1")]),
    "a push to the array": ([op(REMOVE, "/x/0")], [op(ADD, "/l/-", "e")]),
    "keys that are numbers, gone": ([op(REMOVE, "/ids/0")], [op(REPLACE, "/ids/1/n", 5)]),
    "keys that are numbers, new": ([op(ADD, "/ids/00", {})], [op(REPLACE, "/ids/1/n", 5)]),
    "an array below another key": ([op(REMOVE, "/ids/0")], [op(REPLACE, "/ids/1/l/1", 5)]),
    "an inner array of another element": ([op(REMOVE, "/m/0/t/0")], [op(REPLACE, "/m/1/t/0", 5)]),
    "an outer element behind": ([op(REMOVE, "/m/1")], [op(REPLACE, "/m/0/t/2", 5)]),
    "a field of the element": ({"$inc": {"m.0.n": 1}}, [op(REPLACE, "/m/0/t/2", 5)]),
    "fields of all elements": ({"$inc": {"m.$[].n": 1}}, [op(REPLACE, "/m/0/t/2", 5)]),
    "own removals, removed before": (
        [op(REMOVE, "/l/3")],
        [op(REMOVE, "/l/0"), op(REMOVE, "/l/0")],
    ),
}
# No index at all, or one that is a position: the operators of MongoDB.
POSITIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "$set": ([op(REMOVE, "/l/0")], {"$set": {"l.1": "B"}}),
    "$inc": ([op(REMOVE, "/x/0")], {"$inc": {"x.0": 1}}),
    "$unset": ([op(ADD, "/l/0", "z")], {"$unset": {"l.1": ""}}),
    "$push": ([op(REMOVE, "/m/0")], {"$push": {"m.0.t": 7}}),
}


def decided(
    sequencer: Sequencer, number: int, body: Any, version: int, peer: str = "B", **changes: Any
) -> ConflictError | int:
    """The refusal of a proposal, or the version of its entry; it is newer than all others."""
    time = (1000 + number) << 16
    asked = proposal(number, body, version=version, timestamp=time, acked_below=1, **changes)
    result = sequencer.propose(peer, asked)
    if isinstance(result, Ordered):
        return result.entry.version
    assert isinstance(result, Decision)
    assert result.error is not None, body
    error = from_wire(result.error)
    assert isinstance(error, ConflictError), error
    return error


def rule(mode: str) -> Sequencer:
    """A host whose group has a conflict rule."""
    state = new_state()
    state.bootstrap(START, {"conflict": mode})
    return reign(None, "A", "B", state=state)


def ordered(sequencer: Sequencer, body: Any) -> None:
    """An entry of another peer, older than all that is proposed later."""
    asked = proposal(1, body, version=sequencer.state.version, timestamp=1 << 16)
    entry_of(sequencer.propose("A", asked))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", MOVED)
def test_a_list_is_refused_if_the_array_has_moved(case: str, mode: str) -> None:
    unseen, body = MOVED[case]
    sequencer = rule(mode)
    seen = sequencer.state.version
    ordered(sequencer, unseen)
    before = to_plain(sequencer.state.document)
    error = decided(sequencer, 1, body, seen)
    assert isinstance(error, ConflictError)
    assert error.outcome == "not_applied"
    assert error.path in {each[key] for each in body for key in ("path", "from") if key in each}
    assert "may name another element" in str(error)
    assert to_plain(sequencer.state.document) == before
    # Read again, it is the writer's business.
    ordered_again = sequencer.propose("B", proposal(2, body, version=sequencer.state.version))
    assert "may name another" not in repr(ordered_again)


@pytest.mark.parametrize("mode", ["timestamp", "last"])
@pytest.mark.parametrize("case", STAYED)
def test_a_list_is_accepted_if_what_it_names_has_stayed(case: str, mode: str) -> None:
    unseen, body = STAYED[case]
    sequencer = rule(mode)
    seen = sequencer.state.version
    ordered(sequencer, unseen)
    assert decided(sequencer, 1, body, seen) == sequencer.state.version


@pytest.mark.parametrize("mode", ["timestamp", "last"])
@pytest.mark.parametrize("case", POSITIONS)
def test_an_index_of_an_update_operator_is_a_position(case: str, mode: str) -> None:
    unseen, body = POSITIONS[case]
    sequencer = rule(mode)
    seen = sequencer.state.version
    ordered(sequencer, unseen)
    assert decided(sequencer, 1, body, seen) == sequencer.state.version


def test_the_smallest_case() -> None:
    sequencer = reign({"l": ["a", "b", "c"]}, "A", "B")
    seen = sequencer.state.version
    entry_of(sequencer.propose("A", proposal(1, [op(REMOVE, "/l/0")], version=seen)))
    error = decided(sequencer, 1, [op(REPLACE, "/l/1", "B")], seen)
    assert isinstance(error, ConflictError)
    assert error.path == "/l/1"
    assert sequencer.state.document == {"l": ["b", "c"]}


@pytest.mark.parametrize("where", [{"l.1": "b"}, {"n": 0}])
def test_a_condition_does_not_replace_the_element(where: Any) -> None:
    sequencer = rule("timestamp")
    seen = sequencer.state.version
    ordered(sequencer, [op(ADD, "/l/0", "z"), op(REPLACE, "/l/1", "b")])
    error = decided(sequencer, 1, [op(REPLACE, "/l/1", "B")], seen, where=where)
    assert isinstance(error, ConflictError)


def test_a_new_host_decides_as_the_old_one() -> None:
    sequencer = rule("timestamp")
    seen = sequencer.state.version
    ordered(sequencer, {"$pull": {"l": "b"}})
    state = new_state()
    state.restore(sequencer.state.encode())
    successor = reign(None, "A", "B", state=state, epoch=2)
    assert isinstance(decided(successor, 1, [op(REPLACE, "/l/1", "B")], seen), ConflictError)
    assert decided(successor, 2, [op(REPLACE, "/l/0", "A")], seen) == successor.state.version


def test_what_has_been_forgotten_is_refused() -> None:
    state = new_state()
    state.bootstrap(START, {"network": {"maxIndex": 2}})
    sequencer = reign(None, "A", "B", state=state)
    seen = sequencer.state.version
    ordered(sequencer, {"$pop": {"l": 1}})
    for number, name in enumerate("pqrs", 2):
        asked = proposal(number, {"$inc": {name: 1}}, version=seen)
        entry_of(sequencer.propose("A", asked))
    assert isinstance(decided(sequencer, 1, [op(REPLACE, "/l/0", "A")], seen), ConflictError)
    # No array has moved after this version.
    assert decided(sequencer, 2, [op(REPLACE, "/l/0", "A")], seen + 1) == sequencer.state.version
    # A write without an index does not care.
    assert decided(sequencer, 3, {"$inc": {"zz": 1}}, seen) == sequencer.state.version


def test_an_update_that_moves_elements_of_many_arrays_notes_few() -> None:
    rows = [{"t": [1, 2, 3]} for _ in range(1000)]
    sequencer = reign({"rows": rows}, "A", "B")
    seen = sequencer.state.version
    asked = proposal(1, {"$pop": {"rows.$[].t": -1}}, version=seen)
    written = entry_of(sequencer.propose("A", asked)).written
    assert written is not None
    assert len(written) < 10
    assert isinstance(decided(sequencer, 1, [op(REMOVE, "/rows/7/t/0")], seen), ConflictError)


class TestOwnWrites:
    """A list was made on what its writer's earlier writes, still pending, had made of the array."""

    def test_it_is_accepted_if_they_were(self) -> None:
        sequencer = rule("timestamp")
        seen = sequencer.state.version
        decided(sequencer, 1, [op(REMOVE, "/l/0")], seen)
        decided(sequencer, 2, [op(REPLACE, "/l/1", "C")], seen, relies_on=1)
        decided(sequencer, 3, [op(REMOVE, "/l/0")], seen, relies_on=1)
        assert sequencer.state.document["l"] == ["C", "d"]

    def test_it_is_refused_if_one_was_refused(self) -> None:
        sequencer = rule("timestamp")
        seen = sequencer.state.version
        refused = {"$pop": {"l": -1}}
        sequencer.propose("B", proposal(1, refused, version=seen, where={"n": 7}))
        error = decided(sequencer, 2, [op(REPLACE, "/l/1", "C")], seen, relies_on=1)
        assert isinstance(error, ConflictError)
        assert sequencer.state.document["l"] == ARRAY
        assert decided(sequencer, 3, [op(REPLACE, "/l/1", "B")], seen) == sequencer.state.version

    def test_it_is_refused_if_one_moved_it_at_the_host_only(self) -> None:
        sequencer = rule("last")
        seen = sequencer.state.version
        ordered(sequencer, {"$set": {"n": 1}})
        # It was not shown: there, the condition was not met.
        decided(sequencer, 1, {"$pop": {"l": -1}}, seen, where={"n": 1})
        error = decided(sequencer, 2, [op(REPLACE, "/l/1", "B")], seen)
        assert isinstance(error, ConflictError)
        assert sequencer.state.document["l"] == ["b", "c", "d"]
        # What it has not moved is still the element.
        assert decided(sequencer, 3, [op(REPLACE, "/x/1", 7)], seen) == sequencer.state.version

    @pytest.mark.parametrize("pending", [{}, {"relies_on": UNSURE}])
    def test_it_is_refused_if_the_view_was_not_whole(self, pending: Any) -> None:
        sequencer = rule("last")
        seen = sequencer.state.version
        decided(sequencer, 1, {"$inc": {"n": 1}}, seen)
        result = decided(sequencer, 2, [op(REPLACE, "/l/1", "B")], seen, **pending)
        assert isinstance(result, ConflictError) == bool(pending)
        # Without an index there is nothing to be unsure of.
        decided(sequencer, 3, [op(REPLACE, "/n", 5)], seen, **pending)
        assert sequencer.state.document["n"] == 5

    def test_it_is_refused_if_one_changed_nothing(self) -> None:
        sequencer = rule("timestamp")
        seen = sequencer.state.version
        sequencer.propose("B", proposal(1, {"$pull": {"l": "q"}}, version=seen))
        error = decided(sequencer, 2, [op(REPLACE, "/l/1", "C")], seen, relies_on=1)
        assert isinstance(error, ConflictError)

    def test_it_is_refused_if_one_was_decided_by_a_host_that_is_gone(self) -> None:
        sequencer = rule("timestamp")
        seen = sequencer.state.version
        sequencer.attach("B", 5, 5)
        error = decided(sequencer, 5, [op(REPLACE, "/l/1", "C")], seen, relies_on=4)
        assert isinstance(error, ConflictError)

    @pytest.mark.parametrize(
        ("own", "unseen", "body"),
        [
            # Its own element was the fifth; another peer's is there now.
            ({"$push": {"l": "e"}}, {"$push": {"l": "z"}}, [op(REPLACE, "/l/4", "E")]),
            # It pulls two elements now, not one.
            ({"$pull": {"l": "b"}}, {"$set": {"l.0": "b"}}, [op(REPLACE, "/l/1", "C")]),
        ],
    )
    def test_it_is_refused_if_others_wrote_to_the_array(
        self, own: Any, unseen: Any, body: Any
    ) -> None:
        sequencer = rule("timestamp")
        seen = sequencer.state.version
        ordered(sequencer, unseen)
        decided(sequencer, 1, own, seen)
        assert isinstance(decided(sequencer, 2, body, seen, relies_on=1), ConflictError)


# Elements that are never equal: an element that is replaced by the wrong list shows.
_moves = st.one_of(
    st.builds(lambda i: [op(REMOVE, f"/l/{i}")], st.integers(0, 5)),
    st.builds(lambda i, v: [op(ADD, f"/l/{i}", v)], st.integers(0, 5), st.integers(100, 999)),
    st.builds(
        lambda i, j: [op("move", f"/l/{j}", source=f"/l/{i}")], st.integers(0, 5), st.integers(0, 5)
    ),
    st.builds(lambda i: {"$pull": {"l": {"$mod": [3, i]}}}, st.integers(0, 2)),
    st.sampled_from(
        [
            {"$pop": {"l": -1}},
            {"$pop": {"l": 1}},
            {"$push": {"l": 50}},
            {"$push": {"l": {"$each": [], "$sort": 1}}},
            {"$push": {"l": {"$each": [], "$sort": -1}}},
            {"$push": {"l": {"$each": [60, 61], "$slice": -4}}},
            {"$push": {"l": {"$each": [70], "$position": 1, "$slice": 5}}},
        ]
    ),
)


@settings(max_examples=300, deadline=None)
@given(
    moves=st.lists(_moves, max_size=4),
    own=st.lists(st.builds(lambda i: op(REMOVE, f"/l/{i}"), st.integers(0, 3)), max_size=2),
    index=st.integers(0, 5),
    mode=st.sampled_from(["timestamp", "last"]),
)
def test_never_the_wrong_element(
    moves: list[Any], own: list[dict[str, Any]], index: int, mode: str
) -> None:
    state = new_state()
    state.bootstrap({"l": [5, 3, 8, 1, 6, 4]}, {"conflict": mode})
    sequencer = reign(None, "A", "B", state=state)
    seen = sequencer.state.version
    mine = list(state.document["l"])
    for each in own:
        del mine[int(each["path"][3:])]
    if index >= len(mine):
        return
    for number, body in enumerate(moves, 1):
        asked = proposal(number, body, version=state.version, timestamp=1 << 16)
        sequencer.propose("A", asked)
    before = [*state.document["l"]]
    named = [int(each["path"][3:]) for each in own]
    body = [*own, op(REPLACE, f"/l/{index}", "it")]
    result = sequencer.propose("B", proposal(1, body, version=seen, timestamp=9 << 16))
    if isinstance(result, Ordered):
        left = [*before]
        for place in named:
            del left[place]
        left[left.index(mine[index])] = "it"  # what it meant, wherever it is
        assert state.document["l"] == left


RELIES: dict[str, tuple[list[list[dict[str, Any]]], list[dict[str, Any]], int]] = {
    "nothing pending": ([], [op(REPLACE, "/l/1", 0)], 0),
    "another place": ([[op(REMOVE, "/x/0")]], [op(REPLACE, "/l/1", 0)], 0),
    "the first that moved it": (
        [[op(REPLACE, "/n", 1)], [op(REMOVE, "/l/0")], [op(REMOVE, "/l/0")]],
        [op(REPLACE, "/l/1", 0)],
        4,
    ),
    "one that moved what is behind": ([[op(REMOVE, "/l/2")]], [op(REPLACE, "/l/1", 0)], 0),
    "the first, where the indexes have changed since": (
        [[op(ADD, "/l/2", "z")], [op(REMOVE, "/l/0")], [op(REMOVE, "/l/0")]],
        [op(REPLACE, "/l/0", 0)],
        3,
    ),
    "the first, which moved the array around it": (
        [[op(REMOVE, "/m/0")], [op(REMOVE, "/m/1/t/0")], [op(REMOVE, "/m/0")]],
        [op(REPLACE, "/m/0/t/0", 0)],
        3,
    ),
    "none of an array beside it": (
        [[op(REMOVE, "/x/0")], [op(REMOVE, "/l/0")]],
        [op(REPLACE, "/l/0", 0)],
        4,
    ),
    "one that pushed it": ([[op(ADD, "/l/3", 0)]], [op(REPLACE, "/l/3", 0)], 3),
    "one that set the array": ([[op(REPLACE, "/l", ARRAY)]], [op(REPLACE, "/l/3", 0)], 3),
    "one that set what is above": (
        [[op(REPLACE, "/o", {})]],
        [op("copy", "/y", source="/o/l/0")],
        3,
    ),
    "one that set the element": ([[op(REPLACE, "/l/1", 0)]], [op(REPLACE, "/l/1", 1)], 0),
    "a key that is a number": ([[op(REMOVE, "/ids/0")]], [op(REPLACE, "/ids/1", 0)], 0),
    "no index": ([[op(REMOVE, "/l/0")]], [op(ADD, "/l/-", 0)], 0),
}


@pytest.mark.parametrize("case", RELIES)
def test_a_writer_says_which_own_writes_it_relies_on(case: str) -> None:
    operations, body, expected = RELIES[case]
    assert first_relied_on(START, body, pending_of(*operations), True) == expected
    assert first_relied_on(START, {"$set": {"l.1": 0}}, pending_of(*operations), True) == 0


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ([op(ADD, "/l/9", "z")], 3),
        ({"$pop": {"l": 1}}, 3),
        ({"$push": {"l": {"$each": [1], "$position": 0}}}, 3),
        ({"$set": {"l": [1]}}, 3),
        ({"$pull": {"m.$[].t": 1}}, 4),
        ({"$inc": {"n": 1}}, 4),
        ([op(REMOVE, "/x/9")], 4),
    ],
)
def test_a_write_that_changes_nothing_here_may_move_elements_at_the_host(
    body: Any, expected: int
) -> None:
    writes = pending_of([], [op(REMOVE, "/l/0")])
    writes[3] = PendingWrite(proposal(3, body))
    assert first_relied_on(START, [op(REPLACE, "/l/0", 0)], writes, True) == expected


@pytest.mark.parametrize(
    ("body", "is_sure"),
    [
        ([op("move", "/k", source="/l")], False),
        ([op("copy", "/k", source="/l")], False),
        ({"$rename": {"l": "k"}}, False),
        ({"$rename": {"l": "x"}}, True),
        ([op("move", "/x/0", source="/l/0")], True),
        ([op(ADD, "/k", ARRAY)], True),
    ],
)
def test_nothing_is_sure_of_elements_that_a_pending_write_brings_from_elsewhere(
    body: Any, is_sure: bool
) -> None:
    """Another peer may insert an element there before the host moves them."""
    writes = PendingWrites[PendingWrite](keep=10)
    write = PendingWrite(proposal(1, body))
    write.operations = [op(ADD, "/k", ARRAY)]
    writes.add(write)
    view = {**START, "k": ARRAY}
    body = [op(REPLACE, "/k/0", 0)]
    relied = first_relied_on(view, body, writes.pending, True, writes.bringing)
    assert relied == (1 if is_sure else UNSURE)
    writes.complete(1, made_entry=True)
    assert not writes.bringing
    writes.recall(0)
    assert (1 in writes.bringing) == bool(places_filled(write.proposal.body))


@pytest.mark.parametrize(
    ("body", "is_moved"),
    [
        ({"$push": {"l": {"$each": [], "$sort": -1}}}, True),
        ([op("move", "/l/1", source="/l/0")], True),
        ([op(REMOVE, "/l/0"), op(ADD, "/l/1", "a")], True),
        ({"$set": {"l.0": "b", "l.1": "a"}}, False),
        ([op("test", "/l/0", "a"), op(REPLACE, "/l/0", "b"), op(REPLACE, "/l/1", "a")], False),
    ],
)
def test_elements_that_are_overwritten_by_each_other_have_moved(body: Any, is_moved: bool) -> None:
    write = PendingWrite(proposal(3, body))
    write.operations = [op(REPLACE, "/l/0", "b"), op(REPLACE, "/l/1", "a")]
    relied = first_relied_on(START, [op(REPLACE, "/l/1", 0)], {3: write}, True)
    assert relied == (3 if is_moved else 0)


def test_nothing_is_sure_in_a_view_that_is_not_whole() -> None:
    assert first_relied_on(START, [op(REPLACE, "/l/1", 0)], {}, False) == UNSURE
    assert first_relied_on(START, {"$set": {"l.1": 0}}, {}, False) == 0


def pending_of(*bodies: Any) -> dict[int, PendingWrite]:
    """Pending writes with the operations that they compiled to."""
    writes = {}
    for number, operations in enumerate(bodies, 3):
        writes[number] = PendingWrite(proposal(number))
        writes[number].operations = operations
    return writes
