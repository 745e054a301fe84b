"""`PlaceHistory`: what it says of a value is right, whatever the patches do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsync.document import (
    UNKNOWN,
    PlaceHistory,
    apply_patch,
    compile_update,
    identical,
    object_depths,
)
from memsync.document.traversal import MISSING
from memsync.errors import MemSyncError

from .document_strategies import documents, updates
from .test_place_index import PLACES, value_at


@given(documents, st.lists(updates, max_size=6), st.sampled_from(PLACES))
def test_a_value_is_right_or_unknown(document: Any, several: list[Any], place: str) -> None:
    history = PlaceHistory(place)
    value = UNKNOWN
    for update in several:
        before = value_at(document, place)
        try:
            operations = compile_update(document, update)
            document = apply_patch(document, operations)
        except MemSyncError:
            continue
        is_concerned = history.follow(operations)
        value = value_at(document, place)
        assert is_concerned or identical(value, before) or value is before is MISSING
        if history.value is not UNKNOWN:
            assert identical(history.value, None if value is MISSING else value)


@given(documents, st.lists(updates, max_size=6), st.sampled_from(PLACES))
def test_with_all_patches_it_is_right_as_well(
    document: Any, several: list[Any], place: str
) -> None:
    patches, documents_after = list[Any](), list[Any]()
    for update in several:
        try:
            operations = compile_update(document, update)
            after = apply_patch(document, operations)
        except MemSyncError:
            continue
        patches.append(operations)
        documents_after.append((document, after))
        document = after
    history = PlaceHistory(place, object_depths(document, place), patches)
    less = PlaceHistory(place)
    for operations, (before, after) in zip(patches, documents_after, strict=True):
        is_concerned = history.follow(operations)
        assert less.follow(operations) or not is_concerned
        value, earlier = value_at(after, place), value_at(before, place)
        assert is_concerned or identical(value, earlier) or value is earlier is MISSING
        if history.value is not UNKNOWN:
            assert identical(history.value, None if value is MISSING else value)
        else:
            assert less.value is UNKNOWN


JOBS = {"jobs": {"17": {"s": "new"}, "18": {"s": "new"}}, "a": [{"s": 1}, {"s": 2}]}


@pytest.mark.parametrize(
    ("updates", "place", "concerned"),
    [
        ([{"$push": {"a": 0}}], "/a/1/s", [False]),
        ([{"$pop": {"a": 1}}], "/a/0", [False]),
        ([{"$pop": {"a": 1}}], "/a/1/s", [True]),
        ([{"$push": {"a": {"$each": [0], "$position": 1}}}], "/a/0", [False]),
        ([{"$push": {"a": {"$each": [0], "$position": 0}}}], "/a/0", [True]),
        ([{"$pop": {"a": -1}}], "/a/1", [True]),
        ([{"$set": {"a.7": 0}}], "/a/1", [False]),
        ([{"$set": {"jobs.19": 0}}], "/jobs/17", [False]),
        ([{"$set": {"jobs.16": 0}}], "/jobs/17/s", [False]),
        ([{"$unset": {"jobs.17": ""}}], "/jobs/18/s", [False]),
        ([{"$unset": {"jobs.17": ""}}], "/jobs/17/s", [True]),
        ([{"$set": {"jobs.16": 0}}, {"$set": {"jobs": {"17": 1}}}, {"$set": {"jobs.15": 0}}],
         "/jobs/17", [True, True, False]),
        ([{"$set": {"jobs": [0, 1]}}, {"$pop": {"jobs": -1}}, {"$set": {"jobs": {"1": 2}}},
          {"$set": {"jobs.0": 2}}], "/jobs/1", [True, True, True, False]),
    ],
)  # fmt: skip
def test_what_concerns_a_place_with_digits(
    updates: list[Any], place: str, concerned: list[bool]
) -> None:
    document, patches = JOBS, []
    for update in updates:
        patches.append(compile_update(document, update))
        document = apply_patch(document, patches[-1])
    history = PlaceHistory(place, object_depths(document, place), patches)
    assert [history.follow(operations) for operations in patches] == concerned


def test_a_counter_is_known_after_its_first_change() -> None:
    history = PlaceHistory("/a/n")
    assert history.value is UNKNOWN
    document = {"a": {"n": 0}}
    for number in (1, 2):
        history.follow(compile_update(document, {"$inc": {"a.n": number}}))
        assert history.value == number


def test_elements_that_move_make_it_unknown() -> None:
    history = PlaceHistory("/a/1/n")
    history.follow([{"op": "replace", "path": "/a", "value": [{}, {"n": 1}]}])
    assert history.value == 1
    history.follow([{"op": "remove", "path": "/a/0"}])
    assert history.value is UNKNOWN
