"""`PlaceHistory`: what it says of a value is right, whatever the patches do."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from memsync.document import UNKNOWN, PlaceHistory, apply_patch, compile_update, identical
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
