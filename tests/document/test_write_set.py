"""What an update says it writes: a path and a kind for each place that it names."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsync.document.footprint import write_set as module
from memsync.document.footprint.write_set import (
    PathWrite,
    is_guarded,
    refine_write_set,
    tags_of,
    write_set,
    written_pointers,
)
from memsync.document.live.run import tells_write_set
from memsync.document.patch.rfc6902 import check_patch
from memsync.document.paths import parse_pointer
from memsync.document.update import plain
from memsync.document.update.compile import check_update, compile_update
from memsync.errors import MemSyncError

from .document_strategies import copied, documents, patches, text, updates, values

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def names(body: Any) -> list[tuple[str, str]]:
    """The pointers and kinds which a body writes, those of an update after it was checked."""
    checked = check_patch(body) if isinstance(body, list) else check_update(body)
    return [(name.pointer, name.kind) for name in write_set(checked)]


def tag(value: Any) -> bytes | None:
    """The tag of a ``$set`` of the value."""
    (name,) = write_set({"$set": {"a": value}})
    return name.tag


UPDATES = {
    "a dotted path becomes a pointer": ({"$inc": {"a.b": 1}}, [("/a/b", "$inc")]),
    "special characters are escaped": ({"$mul": {"d/e.x~": 1}}, [("/d~1e/x~0", "$mul")]),
    "each path of each operator is named, in their order": (
        {"$min": {"b": 1, "a": 1}, "$max": {"c": 1}},
        [("/b", "$min"), ("/a", "$min"), ("/c", "$max")],
    ),
    "setting and unsetting have their kinds": (
        {"$set": {"a": 1}, "$unset": {"b": ""}},
        [("/a", "$set"), ("/b", "$unset")],
    ),
    "one bit operation is a kind": (
        {"$bit": {"a": {"and": 1}, "b": {"or": 1}, "c": {"xor": 1}}},
        [("/a", "$bit and"), ("/b", "$bit or"), ("/c", "$bit xor")],
    ),
    "several bit operations in one commute with nothing": (
        {"$bit": {"a": {"and": 1, "or": 2}}},
        [("/a", "other")],
    ),
    "a push of a value is plain": ({"$push": {"a": 1}}, [("/a", "$push")]),
    "a push of an object is plain": ({"$push": {"a": {"$x": 1, "b": 1}}}, [("/a", "$push")]),
    "a push with $each alone is plain": ({"$push": {"a": {"$each": [1]}}}, [("/a", "$push")]),
    "a push with a modifier commutes with nothing": (
        {"$push": {"a": {"$each": [1], "$slice": 3}}},
        [("/a", "other")],
    ),
    "adding to a set is plain, with $each too": (
        {"$addToSet": {"a": 1, "b": {"$each": [1]}}},
        [("/a", "$addToSet"), ("/b", "$addToSet")],
    ),
    "what takes elements out commutes with nothing": (
        {"$pop": {"a": 1}, "$pull": {"b": 1}, "$pullAll": {"c": [1]}},
        [("/a", "other"), ("/b", "other"), ("/c", "other")],
    ),
    "the time of day commutes with nothing": ({"$currentDate": {"a": True}}, [("/a", "other")]),
    "renaming writes both ends": (
        {"$inc": {"n": 1}, "$rename": {"a.b": "c.d", "x": "y"}},
        [("/n", "$inc"), ("/a/b", "other"), ("/c/d", "other"), ("/x", "other"), ("/y", "other")],
    ),
    "$setOnInsert never acts and names nothing": (
        {"$setOnInsert": {"a": 1}, "$inc": {"b": 1}},
        [("/b", "$inc")],
    ),
    "a path ends at the positional $": ({"$inc": {"a.b.$.n": 1}}, [("/a/b", "$inc[]")]),
    "a path ends at $[]": ({"$mul": {"a.$[].n": 1}}, [("/a", "$mul[]")]),
    "a path ends at the first $[id]": ({"$min": {"a.$[i].b.$[].n": 1}}, [("/a", "$min[]")]),
    "an index before a positional part is part of the path": (
        {"$max": {"a.0.b.$[]": 1}},
        [("/a/0/b", "$max[]")],
    ),
    "kinds that commute stay what they are inside elements": (
        {
            "$addToSet": {"a.$[].x": 1},
            "$push": {"b.$[].x": 1},
            "$bit": {"c.$[].x": {"or": 1}},
        },
        [("/a", "$addToSet[]"), ("/b", "$push[]"), ("/c", "$bit or[]")],
    ),
    "what sets or unsets inside elements cannot be compared": (
        {"$set": {"a.$[].x": 1}, "$unset": {"b.$[].x": ""}, "$pop": {"c.$[].x": 1}},
        [("/a", "other[]"), ("/b", "other[]"), ("/c", "other[]")],
    ),
    "several bit operations inside elements are other": (
        {"$bit": {"a.$[]": {"and": 1, "or": 1}}},
        [("/a", "other[]")],
    ),
    "an index is part of the path": (
        {"$inc": {"a.10.n": 1, "b.0": 1}},
        [("/a/10/n", "$inc"), ("/b/0", "$inc")],
    ),
    "a number with leading zeros ends the path as other": (
        {"$inc": {"a.01": 1}, "$set": {"b.c.00.n": 1}},
        [("/a", "other"), ("/b/c", "other")],
    ),
    "a positional part before leading zeros decides": (
        {"$inc": {"a.$[].01": 1}},
        [("/a", "$inc[]")],
    ),
    "leading zeros in the first part are a name": ({"$inc": {"01.b": 1}}, [("/01/b", "$inc")]),
    "an empty operator writes nothing": ({"$set": {}, "$inc": {"a": 1}}, [("/a", "$inc")]),
}


@pytest.mark.parametrize("case", UPDATES)
def test_of_an_update(case: str) -> None:
    body, expected = UPDATES[case]
    assert names(body) == expected, "when the shape is new or known"
    assert names(body) == expected, "when the shape is known"


PATCHES = {
    "an addition sets": ([{"op": "add", "path": "/a/b", "value": 1}], [("/a/b", "$set")]),
    "a replacement sets": ([{"op": "replace", "path": "/a", "value": 1}], [("/a", "$set")]),
    "a removal unsets": ([{"op": "remove", "path": "/a"}], [("/a", "$unset")]),
    "an addition at the end is a push": (
        [{"op": "add", "path": "/a/-", "value": 1}],
        [("/a", "$push")],
    ),
    "an insertion moves elements": (
        [{"op": "add", "path": "/a/1", "value": 1}],
        [("/a/1", "other")],
    ),
    "a removed element moves elements": ([{"op": "remove", "path": "/a/1"}], [("/a/1", "other")]),
    "a replaced element is set": (
        [{"op": "replace", "path": "/a/1", "value": 1}],
        [("/a/1", "$set")],
    ),
    "below an element a key is set": (
        [{"op": "add", "path": "/a/1/n", "value": 1}],
        [("/a/1/n", "$set")],
    ),
    "moving writes both ends": (
        [{"op": "move", "from": "/a", "path": "/b"}],
        [("/a", "other"), ("/b", "other")],
    ),
    "copying writes its target": ([{"op": "copy", "from": "/a", "path": "/b"}], [("/b", "other")]),
    "a test writes nothing": ([{"op": "test", "path": "/a", "value": 1}], []),
    "escaped tokens stay escaped": (
        [{"op": "add", "path": "/d~1e/x~0", "value": 1}],
        [("/d~1e/x~0", "$set")],
    ),
    "the whole object can be set": ([{"op": "replace", "path": "", "value": {}}], [("", "$set")]),
    "operations are named in their order": (
        [{"op": "remove", "path": "/b"}, {"op": "add", "path": "/a", "value": 1}],
        [("/b", "$unset"), ("/a", "$set")],
    ),
    "no operations write nothing": ([], []),
}


@pytest.mark.parametrize("case", PATCHES)
def test_of_a_patch(case: str) -> None:
    body, expected = PATCHES[case]
    assert names(body) == expected


def test_a_rename_of_the_same_shape_goes_where_it_says() -> None:
    assert names({"$rename": {"a": "b"}}) == [("/a", "other"), ("/b", "other")]
    assert names({"$rename": {"a": "c.d"}}) == [("/a", "other"), ("/c/d", "other")]


def test_a_push_and_a_bit_of_the_same_shape_are_what_they_say() -> None:
    assert names({"$push": {"a": 1}}) == [("/a", "$push")]
    assert names({"$push": {"a": {"$each": [1], "$position": 0}}}) == [("/a", "other")]
    assert names({"$bit": {"a": {"or": 1}}}) == [("/a", "$bit or")]
    assert names({"$bit": {"a": {"xor": 1}}}) == [("/a", "$bit xor")]


DIFFERENT: list[Any] = [
    None,
    True,
    1,
    1.0,
    0,
    0.0,
    -0.0,
    False,
    "",
    "1",
    [],
    {},
    [1],
    [1.0],
    [True],
]
DIFFERENT += [{"a": 1, "b": 2}, {"b": 2, "a": 1}, [[1], 2], [[1, 2]], 2**63 - 1, -(2**63), 2.0**63]
DIFFERENT += ["x" * n for n in (12, 13, 14, 15, 16, 17, 1000)]


def test_tags_tell_apart_what_json_or_python_may_not() -> None:
    for left, right in combinations(DIFFERENT, 2):
        assert tag(left) != tag(right), (left, right)


@given(values, values)
def test_tags_are_equal_exactly_when_values_are(left: Any, right: Any) -> None:
    assert (tag(left) == tag(right)) == (text(left) == text(right))
    assert tag(left) == tag(copied(left))


def test_long_values_have_short_tags_no_value_can_imitate() -> None:
    lengths = {len(tag("x" * n) or b"") for n in range(200)}
    assert max(lengths) == 16
    assert len(tag("x" * 14) or b"") == 15, "the longest that is not replaced by a digest"


def test_only_a_set_has_a_tag_and_a_patch_has_the_same_one() -> None:
    (name,) = write_set([{"op": "add", "path": "/a", "value": {"b": 1}}])
    assert name == PathWrite("/a", "$set", tag({"b": 1}))
    (name,) = write_set([{"op": "replace", "path": "/a/0", "value": 1}])
    assert name == PathWrite("/a/0", "$set", tag(1))
    for body in ({"$inc": {"a": 1}}, {"$push": {"a": 1}}, {"$set": {"a.$[].b": 1}}):
        assert [each.tag for each in write_set(body)] == [None]


@given(st.lists(updates, min_size=1, max_size=4))
def test_what_the_cache_knows_is_what_it_would_learn(bodies: list[Any]) -> None:
    for body in bodies:
        try:
            checked = check_update(body)
        except MemSyncError:
            continue
        cached = list(write_set(checked))
        module._shapes.clear()
        assert write_set(checked) == cached
        for name in cached:
            parse_pointer(name.pointer)


@given(patches)
def test_every_checked_patch_has_names(body: Any) -> None:
    for name in write_set(check_patch(body)):
        parse_pointer(name.pointer)


def test_the_cache_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_shapes", {})
    monkeypatch.setattr(module, "_MAX_SHAPES", 2)
    for field in "abc":
        assert names({"$inc": {field: 1}}) == [(f"/{field}", "$inc")]
    assert len(module._shapes) == 1
    large = {"$inc": {f"f{n}": 1 for n in range(33)}}
    assert len(names(large)) == 33
    assert len(module._shapes) == 1


def test_an_operator_is_no_field_to_the_cache() -> None:
    assert names({"$inc": {"a": 1}, "$mul": {"b": 1}}) == [("/a", "$inc"), ("/b", "$mul")]
    assert names({"$inc": {"a": 1, "b": 1}}) == [("/a", "$inc"), ("/b", "$inc")]


class TestIsGuarded:
    def test_a_list_with_a_test_is(self) -> None:
        body = [{"op": "remove", "path": "/a"}, {"op": "test", "path": "/a", "absent": True}]
        assert is_guarded(check_patch(body))

    def test_others_are_not(self) -> None:
        assert not is_guarded([{"op": "remove", "path": "/test"}])
        assert not is_guarded([])
        assert not is_guarded({"$set": {"op": "test"}})


CREATED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "an element that is there": ({"a": [1]}, {"$inc": {"a.0": 1}}, "$inc"),
    "a key of an element that is there": ({"a": [{}]}, {"$inc": {"a.0.n": 1}}, "$inc"),
    "an element behind the end": ({"a": [1]}, {"$inc": {"a.1": 1}}, "$inc+"),
    "a key of an element behind the end": ({"a": []}, {"$inc": {"a.2.n": 1}}, "$inc+"),
    "an element far behind the end": ({"a": [1]}, {"$inc": {"a.99": 1}}, "$inc+"),
    "a key of digits, which may be an element": ({"a": {}}, {"$inc": {"a.5": 1}}, "$inc+"),
    "a key of digits that is there": ({"a": {"5": 1}}, {"$inc": {"a.5": 1}}, "$inc"),
    "a plain key": ({"a": {}}, {"$inc": {"a.n": 1}}, "$inc"),
    "an implied parent": ({}, {"$inc": {"a.0.n": 1}}, "$inc+"),
    "inside elements, which are there": ({"a": [{}]}, {"$inc": {"a.$[].n": 1}}, "$inc[]"),
    "what commutes with nothing anyway": ({"a": []}, {"$currentDate": {"a.0": True}}, "other"),
    "a pushed array that was missing": ({}, {"$push": {"a": 1}}, "$push"),
    "an array that is an element behind the end": ({"a": []}, {"$push": {"a.0": 1}}, "$push+"),
    "an element that becomes null": ({"a": [1]}, {"$unset": {"a.0": ""}}, "$unset"),
}


@pytest.mark.parametrize("case", CREATED)
def test_what_may_have_created_an_element(case: str) -> None:
    document, update, kind = CREATED[case]
    found = write_set(update)
    operations = compile_update(document, update, now=NOW)
    assert [n.kind for n in refine_write_set(found, operations)] == [kind]


def test_what_is_created_keeps_pointer_and_tag() -> None:
    found = write_set({"$set": {"a.0": 1, "b": 2}})
    created = refine_write_set(found, [{"op": "add", "path": "/a/0", "value": 1}])
    assert created == [found[0]._replace(kind="$set+"), found[1]]
    assert found[0].kind == "$set", "the list may be another's as well"


@pytest.mark.parametrize(
    "operations",
    [
        [],
        [{"op": "replace", "path": "/a/0", "value": 1}],
        [{"op": "remove", "path": "/a/0"}, {"op": "remove", "path": "/a"}],
        [{"op": "add", "path": "/a/1", "value": 1}],
        [{"op": "add", "path": "/a/0/n", "value": 1}],
        [{"op": "add", "path": "/a/00", "value": 1}, {"op": "add", "path": "/b", "value": 1}],
    ],
)
def test_the_same_list_comes_back_when_nothing_changes(operations: list[Any]) -> None:
    found = write_set({"$inc": {"a.0": 1}})
    assert refine_write_set(found, operations) is found
    other = [PathWrite("/a/0", "other")]
    assert refine_write_set(other, [{"op": "add", "path": "/a/0", "value": 1}]) is other


def test_a_whole_object_that_was_put_counts_for_all_below() -> None:
    found = [PathWrite("", "$set", b"\x80"), PathWrite("/a", "$inc")]
    created = refine_write_set(found, [{"op": "replace", "path": "", "value": {"a": 1}}])
    assert [name.kind for name in created] == ["$set", "$inc+"]


@given(documents, updates)
def test_every_element_an_update_creates_is_told(document: Any, update: Any) -> None:
    try:
        operations = compile_update(document, update, now=NOW)
    except MemSyncError:
        return
    paths = [o["path"] for o in operations if o["op"] == "add"]
    added = [path for path in paths if path.rpartition("/")[2].isdigit()]
    found = write_set(update)
    for before, after in zip(found, refine_write_set(found, operations), strict=True):
        path = f"{before.pointer}/"
        if before.kind != "other" and any(path.startswith(f"{each}/") for each in added):
            assert after.kind.endswith("+") or before.kind.endswith("[]")


@given(updates)
def test_many_paths_are_named_as_few_are(update: Any) -> None:
    try:
        checked = check_update(update)
    except MemSyncError:
        return
    expected = write_set(checked)
    pointers = [write.pointer for write in expected]
    assert written_pointers(checked) == pointers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MAX_CACHED_PATHS", 0)
        assert write_set(checked) == expected
        assert written_pointers(checked) == pointers


def creates(pointer: str, added: set[str], put: set[str]) -> bool:
    """Whether a value was added at a path that ends in digits, or written anywhere above it."""
    tokens = parse_pointer(pointer)
    if not tokens:
        return False
    above = {pointer.rsplit("/", count)[0] for count in range(1, len(tokens) + 1)}
    return (tokens[-1].isdigit() and pointer in added) or not above.isdisjoint(put)


@given(documents, updates)
def test_a_write_is_refined_if_it_created_its_place(document: Any, update: Any) -> None:
    try:
        checked = check_update(update)
        operations = compile_update(document, checked, now=NOW)
    except MemSyncError:
        return
    writes = write_set(checked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MAX_CACHED_PATHS", 0)
        as_many = refine_write_set(writes, operations)
    assert as_many == refine_write_set(writes, operations)
    added = {each["path"] for each in operations if each["op"] == "add"}
    put = {each["path"] for each in operations if each["op"] in ("add", "replace")}
    for before, after in zip(writes, refine_write_set(writes, operations), strict=True):
        is_kept = before.kind == "other" or before.kind.endswith("[]")
        is_created = not is_kept and creates(before.pointer, added, put)
        assert after == (before._replace(kind=f"{before.kind}+") if is_created else before)


@given(documents, updates)
def test_what_tells_its_write_set_has_that_one(document: Any, update: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "_MAX_CACHED_PATHS", 0)
        try:
            checked = check_update(update)
            operations = compile_update(document, checked, now=NOW)
        except MemSyncError:
            return
    if tells_write_set(operations):
        tags = tags_of([each["value"] for each in operations])
        told = [
            PathWrite(each["path"], "$set", tag) for each, tag in zip(operations, tags, strict=True)
        ]
        written = refine_write_set(write_set(checked), operations)
        assert sorted(told) == sorted(written)
