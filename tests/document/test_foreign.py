"""Documents that are not plain JSON: classes of the standard library, and what cannot be shared."""

from __future__ import annotations

import copy
from collections import OrderedDict, defaultdict
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import IntEnum, StrEnum
from typing import Any

import pytest

from memsync.document import apply_patch, apply_update, compile_patch, compile_update, invert
from memsync.document import matches as matches_filter
from memsync.errors import NotSerializableError, UpdateError, UsageError


class Level(IntEnum):
    LOW = 1
    HIGH = 5


class Name(StrEnum):
    FIRST = "first"


class Ratio(float):
    pass


def growing(**fields: Any) -> Any:
    return defaultdict(lambda: defaultdict(int), fields)


# document, update, operations: the classes are what they extend
SUBCLASSES: list[tuple[Any, Any, list[tuple[str, str, Any]]]] = [
    (growing(a=1), {"$set": {"b.c": 2}}, [("add", "/b", {"c": 2})]),
    (growing(a=1), {"$inc": {"b": 2}}, [("add", "/b", 2)]),
    (growing(a=1), {"$unset": {"b.c": "", "d": ""}}, []),
    (growing(a=1), {"$pop": {"b.c": 1}}, []),
    ({"a": [growing(x=1)]}, {"$inc": {"a.0.y": 1}}, [("add", "/a/0/y", 1)]),
    ({"a": [growing(x=1)]}, {"$pull": {"a": {"y": None}}}, [("remove", "/a/0", None)]),
    (growing(a=1), {"$rename": {"b": "c"}}, []),
    (OrderedDict(a=OrderedDict(b=1)), {"$inc": {"a.b": 1}}, [("replace", "/a/b", 2)]),
    ({"a": OrderedDict(b=1)}, {"$set": {"a": {"b": 1}}}, []),
    ({"a": OrderedDict(b=1)}, {"$rename": {"a": "c"}}, [("add", "/c", {"b": 1})]),
    ({"a": Level.LOW}, {"$inc": {"a": 1}}, [("replace", "/a", 2)]),
    ({"a": Level.LOW}, {"$inc": {"a": 0}}, []),
    ({"a": Ratio(0.5)}, {"$mul": {"a": 2}}, [("replace", "/a", 1.0)]),
    ({"a": Level.LOW}, {"$bit": {"a": {"or": 2}}}, [("replace", "/a", 3)]),
    ({"a": Level.HIGH}, {"$max": {"a": 4}}, []),
    ({"a": [Level.LOW, Name.FIRST]}, {"$addToSet": {"a": {"$each": [1, "first"]}}}, []),
    ({"a": [Level.LOW, 2]}, {"$pullAll": {"a": [1]}}, [("remove", "/a/0", None)]),
    ({"a": [Level.HIGH, 2]}, {"$pull": {"a": {"$mod": [5, 0]}}}, [("remove", "/a/0", None)]),
    ({"a": Name.FIRST}, {"$set": {"a": "x"}}, [("replace", "/a", "x")]),
]


@pytest.mark.parametrize(("document", "update", "expected"), SUBCLASSES)
def test_a_class_is_what_it_extends(document: Any, update: Any, expected: Any) -> None:
    before = copy.deepcopy(document)
    operations = compile_update(document, update)
    added = [(one["op"], one["path"], one.get("value")) for one in operations]
    assert [one for one in added if one[1:] != ("/a", None)] == expected
    for one in operations:
        assert type(one.get("value")) in (type(None), int, float, str, dict)
    assert repr(document) == repr(before)
    assert apply_patch(document, operations) == apply_update(document, update)
    invert(document, operations)
    assert repr(document) == repr(before)


def test_reading_and_patching_let_no_document_grow() -> None:
    document = growing(a={"x": growing()})
    before = repr(document)
    assert not matches_filter(document, {"b.c": 1, "a.x.y": {"$exists": True}})
    patch = [{"op": "add", "path": "/a/x/y", "value": 1}]
    assert compile_patch(document, patch) == patch
    for path in ("/b/c", "/a/x/q/r"):
        with pytest.raises(UpdateError):
            compile_patch(document, [{"op": "add", "path": path, "value": 1}])
    assert repr(document) == before


DEEP: Any = []
for _ in range(3000):
    DEEP = [DEEP]
CYCLE: Any = {}
CYCLE["self"] = CYCLE

# document, update; the path and the type in the message
FOREIGN: list[tuple[Any, Any, str, str]] = [
    ({"a": (1, 2)}, {"$push": {"a": 3}}, "a", "tuple"),
    ({"a": {1, 2}}, {"$addToSet": {"a": 3}}, "a", "set"),
    ({"a": {"b": b"x"}}, {"$inc": {"a.b": 3}}, "a.b", "bytes"),
    ({"a": date(2026, 1, 1)}, {"$min": {"a": 3}}, "a", "date"),
    ({"a": (1,)}, {"$bit": {"a": {"or": 1}}}, "a", "tuple"),
    ({"a": [{"b": (1,)}]}, {"$addToSet": {"a": {"b": [1]}}}, "a.0.b", "tuple"),
    ({"a": [1, (1,)]}, {"$pull": {"a": {"$gt": 5}}}, "a.1", "tuple"),
    ({"a": [1, {2}]}, {"$pullAll": {"a": [5]}}, "a.1", "set"),
    ({"a": [(1,), 2]}, {"$push": {"a": {"$each": [0], "$sort": 1}}}, "a.0", "tuple"),
    ({"a": {"b": {1: 2}}}, {"$rename": {"a": "c"}}, "a.b", "field name 1 is of type int"),
    ({"a": float("nan")}, {"$rename": {"a": "c"}}, "a", "not finite"),
    ({"a": (1,)}, {"$set": {"a.0": 1}}, "a", "tuple"),
    ({"a": (1,)}, {"$set": {"a.$[]": 1}}, "a", "tuple"),
    ({"a": [(1,)]}, {"$set": {"a.19": 1}}, "a.0", "tuple"),
    ({"a": [DEEP]}, {"$addToSet": {"a": DEEP[0][0:0]}}, "a", "nested deeper"),
    ({"a": [CYCLE]}, {"$addToSet": {"a": 1}}, "a.0", "contains itself"),
]


@pytest.mark.parametrize(("document", "update", "path", "message"), FOREIGN)
def test_what_cannot_be_shared_is_named_where_it_is_touched(
    document: Any, update: Any, path: str, message: str
) -> None:
    with pytest.raises(NotSerializableError, match=message) as caught:
        compile_update(document, update)
    assert str(caught.value.path).startswith(path)
    with pytest.raises(NotSerializableError):
        apply_update(document, update)


def test_filters_and_patches_name_it_too() -> None:
    with pytest.raises(NotSerializableError, match=r"^a.1: .* tuple"):
        matches_filter({"a": [1, (2,)]}, {"a": {"$gt": 3}})
    odd = {"a": [1, (2,)], "b": {1: 2}}
    for patch, path in (
        ([{"op": "test", "path": "/a/1", "value": [2]}], "a.1"),
        ([{"op": "copy", "from": "/a", "path": "/c"}], "a.1"),
    ):
        for attempt in (compile_patch, apply_patch, invert):
            with pytest.raises(NotSerializableError) as caught:
                attempt(odd, patch)
            assert caught.value.path == path
    with pytest.raises(NotSerializableError, match="field name 1"):
        invert({"a": 1, 1: 2}, [{"op": "remove", "path": "/a"}])
    with pytest.raises(NotSerializableError, match="field name 1"):
        invert({"b": {1: 2}}, [{"op": "remove", "path": "/b"}])
    assert not matches_filter({"a": float("inf")}, {"a": {"$mod": [2, 0]}})


def test_integers_without_bounds() -> None:
    with pytest.raises(UpdateError, match="does not fit: an integer of"):
        compile_update({"a": 10**5000}, {"$inc": {"a": 1.5}})
    with pytest.raises(UpdateError, match="an integer of"):
        compile_update({}, 10**5000)  # type: ignore[arg-type]  # what is tested


def test_an_error_that_the_document_is_not_to_blame_for_stays_what_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exhausted(*arguments: Any) -> Any:
        raise RecursionError

    monkeypatch.setattr("memsync.document.patch.dry_run.DryRun.apply", exhausted)
    monkeypatch.setattr("memsync.document.query.query.Query.__call__", exhausted)
    test = [{"op": "test", "path": "/a", "value": 1}]
    for attempt in (
        lambda: compile_patch({}, test),
        lambda: apply_patch({}, test),
        lambda: matches_filter({}, {"a": 1}),
        lambda: compile_update({}, {"$set": {"a.b": 1, "a.c": 1}}),
    ):
        with pytest.raises(RecursionError):
            attempt()


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (None, "needs the time"),
        (datetime(2026, 1, 1), "aware datetime"),
        (time(1, 2, tzinfo=UTC), "aware datetime"),
        (date(2026, 1, 1), "aware datetime"),
        ("2026-01-01", "aware datetime"),
        (5, "aware datetime"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=2))), "beyond the years"),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-2))), "beyond the years"),
    ],
)
def test_the_time_must_be_a_time(now: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compile_update({}, {"$currentDate": {"a": True}}, now=now)
