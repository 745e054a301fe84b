"""`PlaceIndex`: each place whose value has changed is among those that operations touch."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsync.document import PlaceIndex, apply_patch, compile_update, identical, place_of
from memsync.document.observed.place_index import ITSELF, MEMBERS, WHOLE
from memsync.document.traversal import MISSING
from memsync.errors import MemSyncError

from .document_strategies import copied, documents, updates
from .operation_helpers import add, remove, replace

PLACES = ["", "/a", "/a/b", "/a/0", "/a/1", "/a/1/b", "/a/9", "/b", "/b/0", "/c/2/a", "/d~1e", "/0"]


def value_at(document: Any, place: str) -> Any:
    for token in place.split("/")[1:]:
        token = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(token, MISSING)
        elif isinstance(document, list) and token.isdigit() and int(token) < len(document):
            document = document[int(token)]
        else:
            return MISSING
    return document


def aspect(document: Any, place: str, what: str) -> Any:
    """What an observer of a place sees."""
    value = value_at(document, place)
    if what == WHOLE or not isinstance(value, (dict, list)):
        return "missing" if value is MISSING else [value]
    if what == MEMBERS:
        return list(value) if isinstance(value, dict) else len(value)
    return type(value).__name__


def index_of(places: list[str]) -> PlaceIndex[tuple[str, str]]:
    index: PlaceIndex[tuple[str, str]] = PlaceIndex()
    for place in places:
        for what in (WHOLE, MEMBERS, ITSELF):
            index.add(place, (place, what), what)
    return index


@given(documents, st.lists(updates, min_size=1, max_size=4))
def test_what_has_changed_is_touched(document: Any, several: list[Any]) -> None:
    before, after, operations = document, copied(document), []
    for update in several:
        try:
            compiled = compile_update(after, update)
            after = apply_patch(after, compiled)
            operations += compiled
        except MemSyncError:
            continue
    touched = index_of(PLACES).touched(after, operations)
    for place in PLACES:
        for what in (WHOLE, MEMBERS, ITSELF):
            if not identical(aspect(before, place, what), aspect(after, place, what)):
                assert (place, what) in touched


ARRAY = {"a": [{"n": n} for n in range(6)], "b": {"3": 0, "x": 1}}


@pytest.mark.parametrize(
    ("operation", "touched"),
    [
        (replace("/a/1/n", 5), ["/a", "/a/1", "/a/1/n"]),
        (replace("/a/1", 5), ["/a", "/a/1", "/a/1/n"]),
        (add("/a/5", 5), ["/a", "/a/5"]),
        (add("/a/-", 5), ["/a", "/a/5"]),
        (add("/a/2", 5), ["/a", "/a/5"]),
        (remove("/a/0"), ["/a", "/a/1", "/a/1/n", "/a/5"]),
        (remove("/a/6"), ["/a"]),
        (add("/b/4", 5), ["/b"]),
        (add("/b/3", 5), ["/b", "/b/3"]),
        (replace("/c", 5), []),
    ],
)
def test_nothing_else_is_touched(operation: Any, touched: list[str]) -> None:
    index: PlaceIndex[str] = PlaceIndex()
    for place in ("/a", "/a/1", "/a/1/n", "/a/5", "/b", "/b/3"):
        index.add(place, place)
    assert sorted(index.touched(ARRAY, [operation])) == touched


def test_members_are_not_touched_inside() -> None:
    index: PlaceIndex[str] = PlaceIndex()
    index.add("/a", "number", MEMBERS)
    index.add("/a/1", "there", ITSELF)
    assert not index.touched(ARRAY, [replace("/a/1/n", 5)])
    assert list(index.touched(ARRAY, [add("/a/5", {"n": 5})])) == ["number"]
    assert list(index.touched(ARRAY, [replace("/a/1", 0)])) == ["there"]


def test_what_was_removed_leaves_nothing_behind() -> None:
    index = index_of(PLACES)
    for place in PLACES:
        for what in (WHOLE, MEMBERS, ITSELF):
            index.remove(place, (place, what), what)
            index.remove(place, (place, what), what)
    index.remove("/never/added", ("", ""))
    assert index._root.is_empty()


@pytest.mark.parametrize(
    ("path", "place"),
    [("a.b", "/a/b"), ("a.0.b", "/a/0/b"), ("a.00", "/a"), ("٣.b", ""), ("d/e.x~", "/d~1e/x~0")],
)
def test_the_place_that_decides_a_dotted_path(path: str, place: str) -> None:
    assert place_of(path.split(".")) == place
