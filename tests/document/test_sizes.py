"""Patches are short in bytes: what is large and stays is not said again."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsync.document import (
    Draft,
    apply_patch,
    apply_update,
    compile_patch,
    compile_update,
    invert,
    make_live,
)
from memsync.document.order import identical
from memsync.document.patch import array_diff
from memsync.document.patch.array_diff import array_operations

from .document_strategies import text, values

BIG = "x" * 100_000
OTHER = {"big": "y" * 100_000}
UPDATES: list[tuple[Any, Any]] = [
    ({"a": [1, 2, 3, BIG]}, {"$pull": {"a": {"$lt": 4}}}),
    ({"a": [1, 2, 3, BIG]}, {"$pullAll": {"a": [1, 2, 3]}}),
    ({"a": [1, 2, 3, BIG]}, {"$push": {"a": {"$each": [], "$slice": -1}}}),
    ({"a": [BIG, 1, 2, 3, 4]}, {"$push": {"a": {"$each": [5], "$slice": 1}}}),
    ({"a": [BIG]}, {"$set": {"a.40": 1}}),
    ({"a": {"b": [BIG]}}, {"$set": {"a.b.40": 1, "a.b.0": 1}}),
    ({"a": [BIG, 1, 3, 2]}, {"$push": {"a": {"$each": [], "$sort": 1}}}),
    ({"a": [BIG, 1]}, {"$push": {"a": {"$each": [0], "$sort": 1}}}),
    ({"a": [OTHER, 1, 2, BIG, 3]}, {"$push": {"a": {"$each": [], "$sort": -1}}}),
    ({"a": [9, BIG, 3, OTHER]}, {"$push": {"a": {"$each": [7], "$sort": 1, "$slice": -3}}}),
]


@pytest.mark.parametrize("live", [False, True], ids=["plain", "live"])
@pytest.mark.parametrize(("document", "update"), UPDATES)
def test_what_stays_is_not_said_again(document: Any, update: Any, live: bool) -> None:
    operations = compile_update(make_live(document, None) if live else document, update)
    assert len(json.dumps(operations)) < 5_000
    after = jsonpatch.apply_patch(document, operations)
    assert text(after) == text(apply_update(document, update))
    undo = invert(document, operations)
    assert text(jsonpatch.apply_patch(after, undo)) == text(document)


def test_short_arrays_are_written_anew_where_that_is_shorter() -> None:
    assert compile_update({"a": [*range(9), "y"]}, {"$pull": {"a": {"$lt": 9}}}) == [
        {"op": "replace", "path": "/a", "value": ["y"]}
    ]
    sort = {"$push": {"a": {"$each": [], "$sort": 1}}}
    assert compile_update({"a": [3, 2, 1]}, sort) == [
        {"op": "replace", "path": "/a", "value": [1, 2, 3]}
    ]
    (operation,) = compile_update({"a": [1]}, {"$set": {"a.40": 1}})
    assert operation["path"] == "/a"


@pytest.mark.parametrize(
    "patch",
    [
        [{"op": "remove", "path": "/a/0"}, {"op": "add", "path": "/a/-", "value": 9}],
        [
            {"op": "replace", "path": "/a/2/big", "value": "small"},
            {"op": "remove", "path": "/a/0"},
            {"op": "add", "path": "/a/0", "value": 8},
            {"op": "add", "path": "/a/0", "value": 9},
        ],
    ],
)
def test_a_patch_is_reduced_to_a_short_one(patch: Any) -> None:
    document = {"a": [1, 2, {"big": "z", "other": BIG}, BIG, 3]}
    operations = compile_patch(document, patch)
    assert len(json.dumps(operations)) < 1_000
    after = jsonpatch.apply_patch(document, patch)
    assert text(jsonpatch.apply_patch(document, operations)) == text(after)
    undo = invert(document, patch)
    assert len(json.dumps(undo)) < 1_000
    assert text(jsonpatch.apply_patch(after, undo)) == text(document)


def test_undoing_a_removal_says_only_what_came_behind_it() -> None:
    document = {"big": BIG, "a": 1, "b": 2, "c": 3}
    undo = invert(document, [{"op": "remove", "path": "/a"}])
    assert len(json.dumps(undo)) < 1_000
    assert text(apply_patch({"big": BIG, "b": 2, "c": 3}, undo)) == text(document)


def test_a_draft_says_only_what_moved() -> None:
    document = {"a": [1, 2, {"big": BIG, "n": 1}, BIG]}
    draft = Draft(document)
    draft.root["a"][2]["n"] = 5
    del draft.root["a"][0]
    draft.root["a"].append(7)
    patch = draft.patch()
    assert apply_patch(document, patch) == {"a": [2, {"big": BIG, "n": 5}, BIG, 7]}
    changes = [operation for operation in patch if operation["op"] != "test"]
    assert len(json.dumps(changes)) < 1_000


def test_the_work_is_bounded_and_shuffled_arrays_come_out_right() -> None:
    numbers = list(range(3000))
    shuffled = numbers[:]
    random.Random(1).shuffle(shuffled)
    operations = array_operations("/a", numbers, shuffled)
    assert jsonpatch.apply_patch({"a": numbers}, operations) == {"a": shuffled}


@given(st.lists(values, max_size=8), st.data())
def test_keeping_elements_in_place_leads_to_the_same(old: list[Any], data: Any) -> None:
    added = data.draw(st.lists(values, max_size=3))
    new = data.draw(st.permutations(old + added))[: data.draw(st.integers(0, 11))]
    kept = array_diff._keep_heaviest("/a", old, new, 0, identical, array_diff._itself)
    for operations in (kept, array_operations("/a", old, new)):
        assert text(jsonpatch.apply_patch({"a": old}, operations)) == text({"a": new})
