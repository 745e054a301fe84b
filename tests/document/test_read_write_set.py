"""Changes with disjoint read and write sets give one result in either order.

The property is what a replica relies on: an entry that does not meet what is pending is replayed,
and the pending updates keep the operations they were compiled to.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from memsync.document import (
    ReadWriteSet,
    compile_patch,
    compile_read_set,
    compile_update,
    filter_read_set,
    matches,
    read_write_set,
    replay,
    to_plain,
)
from memsync.errors import MemSyncError

from .overlap_strategies import START, Call, applied, calls, checked, filters_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def compiled(document: Any, call: Call) -> Any:
    """What a call means for a document: nothing, where it does not fit."""
    body, where = call
    try:
        if where is not None and not matches(document, where):
            return []
        if isinstance(body, list):
            return compile_patch(document, body)
        return compile_update(document, body, array_filters=filters_of(body), filter=where, now=NOW)
    except MemSyncError:
        return []


def replayed(document: Any, *patches: Any) -> Any:
    """A new document with compiled operations done to it."""
    result = to_plain(document)
    for operations in patches:
        replay(result, operations)
    return result


def set_of(document: Any, call: Call) -> ReadWriteSet:
    """All places that a call reads or writes."""
    read_write = ReadWriteSet()
    read_write.add(read_write_set(compiled(document, call)))
    read_write.add(compile_read_set(call.body, call.where))
    return read_write


def lists(*operations: str) -> Call:
    """An RFC 6902 list, each operation as "op /path" or "op /from /path"; what is added is 5."""
    body: list[dict[str, Any]] = []
    for operation in operations:
        op, *paths = operation.split(" ")
        body.append({"op": op, "path": paths[-1]})
        body[-1] |= {"from": paths[0]} if len(paths) > 1 else {}
        body[-1] |= {"value": 5} if op in ("add", "replace") else {}
    return Call(body, None)


NEW_KEY = Call({"$set": {"z": 1}}, None)
LAST_KEY = {"a": 1, "c": 1}


@settings(max_examples=1000, deadline=None)
@given(st.lists(calls, max_size=2), calls, calls)
@example([], lists("copy /c /x", "remove /c", "move /x /c"), NEW_KEY)
@example([], lists("remove /c", "add /c"), NEW_KEY)
@example([], lists("move /c /x", "move /x /c"), NEW_KEY)
@example([], lists("copy /a/b /e"), Call({"$inc": {"a.b.a": 1}}, None))
@example([], lists("copy /c /b/0", "remove /b/0"), Call({"$unset": {"c": ""}}, None))
@example([], Call({"$inc": {"a.a": 1}}, {"c": 1}), Call({"$inc": {"c": 1}}, None))
@example([], Call({"$inc": {"c": 1}}, {"$nor": [{"d": 1}]}), Call({"$set": {"d": 1}}, None))
@example([], Call({"$pull": {"b": 7}}, None), Call({"$push": {"b": 7}}, None))
@example([], Call({"$rename": {"d": "e"}}, None), Call({"$set": {"d": 1}}, None))
def test_what_meets_nothing_of_the_other_can_come_before_or_after_it(
    earlier: list[Call], mine: Call, theirs: Call
) -> None:
    document: Any = START
    try:
        mine, theirs = checked(mine), checked(theirs)
        for call in earlier:
            document = applied(document, checked(call), NOW)
    except MemSyncError:
        assume(False)
    before, arrived = compiled(document, mine), compiled(document, theirs)
    if not arrived or set_of(document, mine).overlaps(read_write_set(arrived)):
        return
    after = replayed(document, arrived)
    assert repr(compiled(after, mine)) == repr(before)
    assert repr(replayed(document, before, arrived)) == repr(replayed(after, before))


@pytest.mark.parametrize(
    "call", [lists("remove /c", "add /c"), lists("move /c /x", "move /x /c")], ids=["put", "moved"]
)
def test_a_key_that_is_put_again_depends_on_whether_it_is_the_last(call: Call) -> None:
    """On this document it moves nothing; behind another key it would."""
    assert set_of(LAST_KEY, call).overlaps(read_write_set(compiled(LAST_KEY, NEW_KEY)))


@pytest.mark.parametrize(
    ("known", "meeting", "apart"),
    [
        ("/a/b", ["/a/b", "/a/b/c", "/a", ""], ["/a/c", "/a/bc", "/ab", "/b", "/a~1b"]),
        ("", ["", "/a", "/a/b"], []),
        ("/a/~order", ["/a", "/a/~order"], ["/a/b", "/~order", "/b/~order"]),
    ],
)
def test_places_meet_that_are_equal_or_within_each_other(
    known: str, meeting: list[str], apart: list[str]
) -> None:
    read_write = ReadWriteSet()
    assert not read_write.overlaps([known, *meeting])
    read_write.add([known])
    read_write.add([known])
    assert all(read_write.overlaps([pointer]) for pointer in meeting)
    assert not read_write.overlaps(apart)
    assert not meeting or read_write.overlaps([*apart, meeting[0]])


@pytest.mark.parametrize(
    ("operation", "places"),
    [
        ({"op": "replace", "path": "/a/b", "value": 1}, ["/a/b"]),
        ({"op": "replace", "path": "", "value": {}}, [""]),
        ({"op": "add", "path": "/a/b", "value": 1}, ["/a/b", "/a/~order"]),
        ({"op": "remove", "path": "/a"}, ["/a", "/~order"]),
        ({"op": "add", "path": "/a/0", "value": 1}, ["/a"]),
        ({"op": "remove", "path": "/a/10"}, ["/a"]),
        ({"op": "add", "path": "/a/-", "value": 1}, ["/a"]),
        ({"op": "replace", "path": "/a/0", "value": 1}, ["/a/0"]),
    ],
)
def test_an_operation_writes_its_place_and_the_order_or_the_array_around_it(
    operation: Any, places: list[str]
) -> None:
    assert list(read_write_set([operation])) == places


def test_what_is_tested_moved_and_copied_is_read() -> None:
    body = [
        {"op": "test", "path": "/t", "value": 1},
        {"op": "copy", "from": "/c", "path": "/d"},
        {"op": "move", "from": "/m", "path": "/n"},
    ]
    assert {"/t", "/c", "/d", "/m", "/n"} <= set(compile_read_set(body, None))


def test_a_filter_depends_on_its_top_level_fields_also_inside_logical_operators() -> None:
    where = {
        "a.b.0": 1,
        "$and": [{"b": 1}, {"$nor": [{"c.d": 1}, {"$or": [{"d/e": 1}]}]}],
        "f": {"$elemMatch": {"g": 1}},
    }
    assert list(filter_read_set(where)) == ["/a", "/b", "/c", "/d~1e", "/f"]
    assert list(compile_read_set({"$inc": {"n": 1}}, {"a.b": 1})) == ["/n", "/a"]
