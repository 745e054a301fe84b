"""Every update operator in tables: what it does, what it refuses, and what ends in an error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from memsync.document import apply_update, check_update, compile_update, make_live
from memsync.document.update import plan
from memsync.errors import NotSerializableError, UpdateError, UsageError

from .document_strategies import copied, text

NOW = datetime(2026, 1, 2, 3, 4, 5, 678999, tzinfo=UTC)
DATE = "2026-01-02T03:04:05.678Z"
BIG = 2**63 - 1

# document, update, expected document (text: types and order of keys count)
WORKS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    # $set
    ({"a": 1}, {"$set": {"a": 2}}, {"a": 2}),
    ({"a": 2.0}, {"$set": {"a": 2}}, {"a": 2}),
    ({"a": 0.0}, {"$set": {"a": -0.0}}, {"a": -0.0}),
    ({"a": True}, {"$set": {"a": 1}}, {"a": 1}),
    ({"a": {"x": 1, "y": 2}}, {"$set": {"a": {"y": 2, "x": 1}}}, {"a": {"y": 2, "x": 1}}),
    ({}, {"$set": {"a.0": 1}}, {"a": {"0": 1}}),
    ({"a": []}, {"$set": {"a.0.0": 1}}, {"a": [{"0": 1}]}),
    ({"a": [1]}, {"$set": {"a.3": 4}}, {"a": [1, None, None, 4]}),
    ({"a": [1]}, {"$set": {"a.00": 5}}, {"a": [5]}),
    ({"a": [1, 2]}, {"$set": {"a.01": 5, "a.1": 6}}, {"a": [1, 6]}),
    ({"a": []}, {"$set": {"a.40": 1}}, {"a": [None] * 40 + [1]}),
    ({"a": [0]}, {"$set": {"a.0": 1, "a.40": 2}}, {"a": [1, *[None] * 39, 2]}),
    ({"a": [{"x": 0}]}, {"$set": {"a.0.x": 1, "a.19": 2}}, {"a": [{"x": 1}, *[None] * 18, 2]}),
    ({"a": [{}]}, {"$set": {"a.0.x": 1, "a.19.y": 2}}, {"a": [{"x": 1}, *[None] * 18, {"y": 2}]}),
    ({}, {"$set": {"b": 1, "a": 2}}, {"a": 2, "b": 1}),
    ({}, {"$set": {"k10": 1, "k9": 2}}, {"k10": 1, "k9": 2}),
    ({}, {"$set": {"10": 1, "9": 2}}, {"9": 2, "10": 1}),
    ({}, {"$set": {"010": 1, "9": 2}}, {"010": 1, "9": 2}),
    ({}, {"$set": {"a.c": 1, "a.b": 2}}, {"a": {"b": 2, "c": 1}}),
    ({"a": 1}, {"$set": {"b": {"$x": 1}}}, {"a": 1, "b": {"$x": 1}}),
    ({}, {"$set": {"a.$x": 1}}, {"a": {"$x": 1}}),
    ({}, {"$set": {"a/b": 1, "c~d": 2}}, {"a/b": 1, "c~d": 2}),
    ({"a": 1}, {"$set": {}}, {"a": 1}),
    ({"a": [1, 2]}, {"$set": {"a": []}}, {"a": []}),
    # $setOnInsert without insert
    ({"a": 1}, {"$setOnInsert": {"a": 2, "b.c": 3}}, {"a": 1}),
    ({"a": 1}, {"$setOnInsert": {"a.b": 2}}, {"a": 1}),
    # $unset
    ({"a": 1, "b": 2}, {"$unset": {"a": ""}}, {"b": 2}),
    ({"a": [1, 2]}, {"$unset": {"a.0": ""}}, {"a": [None, 2]}),
    ({"a": [None]}, {"$unset": {"a.0": ""}}, {"a": [None]}),
    ({"a": [1]}, {"$unset": {"a.b": "", "a.7": ""}}, {"a": [1]}),
    ({"a": 5}, {"$unset": {"a.b": "", "z": ""}}, {"a": 5}),
    ({"a": {"b": {"c": 1}}}, {"$unset": {"a.b.c": 1}}, {"a": {"b": {}}}),
    # $inc, $mul
    ({"a": 1}, {"$inc": {"a": 2}}, {"a": 3}),
    ({"a": 1}, {"$inc": {"a": 1.5}}, {"a": 2.5}),
    ({"a": 5}, {"$inc": {"a": 0.0}}, {"a": 5.0}),
    ({"a": 5}, {"$inc": {"a": 0}}, {"a": 5}),
    ({}, {"$inc": {"a.b": 0}}, {"a": {"b": 0}}),
    ({}, {"$inc": {"a": 1.5}}, {"a": 1.5}),
    ({"a": BIG}, {"$inc": {"a": -1}}, {"a": BIG - 1}),
    ({"a": 4}, {"$mul": {"a": 3}}, {"a": 12}),
    ({"a": 4}, {"$mul": {"a": 1}}, {"a": 4}),
    ({"a": 4}, {"$mul": {"a": 1.0}}, {"a": 4.0}),
    ({}, {"$mul": {"a": 3, "b": 2.5}}, {"a": 0, "b": 0.0}),
    # $min, $max
    ({"a": 5}, {"$min": {"a": 3}}, {"a": 3}),
    ({"a": 5}, {"$min": {"a": 5.0}}, {"a": 5}),
    ({"a": 5}, {"$max": {"a": "s"}}, {"a": "s"}),
    ({"a": {"x": 1}}, {"$max": {"a": {"x": 1, "y": 0}}}, {"a": {"x": 1, "y": 0}}),
    ({"a": {"x": 1}}, {"$max": {"a": {"x": "s"}}}, {"a": {"x": "s"}}),
    ({"a": {"x": 1}}, {"$max": {"a": {"y": 0}}}, {"a": {"y": 0}}),
    ({"a": {"x": 1}}, {"$min": {"a": {"w": 9}}}, {"a": {"w": 9}}),
    ({"a": {"x": "s"}}, {"$min": {"a": {"x": 1}}}, {"a": {"x": 1}}),
    ({"a": [1, 2]}, {"$max": {"a": [1, 3]}}, {"a": [1, 3]}),
    ({"a": [1, 2]}, {"$max": {"a": [1]}}, {"a": [1, 2]}),
    ({"a": None}, {"$max": {"a": None}}, {"a": None}),
    ({"a": "b"}, {"$min": {"a": "a"}}, {"a": "a"}),
    # $bit
    ({"a": 13}, {"$bit": {"a": {"and": 10}}}, {"a": 8}),
    ({"a": 3}, {"$bit": {"a": {"or": 4, "xor": 1}}}, {"a": 6}),
    ({"a": 3}, {"$bit": {"a": {"or": 1}}}, {"a": 3}),
    ({}, {"$bit": {"a": {"and": 5}}}, {"a": 0}),
    # $rename
    ({"a": 1, "b": 2}, {"$rename": {"a": "c"}}, {"b": 2, "c": 1}),
    ({"a": 1, "b": 2}, {"$rename": {"a": "b"}}, {"b": 1}),
    ({"a": 1, "b": 1.0}, {"$rename": {"a": "b"}}, {"b": 1.0}),
    ({"a": {"x": 1}}, {"$rename": {"a.x": "b.y"}}, {"a": {}, "b": {"y": 1}}),
    ({"a": [1]}, {"$rename": {"a": "b"}}, {"b": [1]}),
    ({"a": {}}, {"$rename": {"a.x.y": "b"}}, {"a": {}}),
    ({"a": [1]}, {"$rename": {"a.5": "b"}}, {"a": [1]}),
    ({"z": 1}, {"$rename": {"a": "b"}}, {"z": 1}),
    ({"a": 1, "c": 2}, {"$rename": {"a": "x.p", "c": "x.q"}}, {"x": {"p": 1, "q": 2}}),
    # $currentDate
    ({}, {"$currentDate": {"a": True}}, {"a": DATE}),
    ({"a": 1}, {"$currentDate": {"a": {"$type": "timestamp"}}}, {"a": DATE}),
    ({"a": DATE}, {"$currentDate": {"a": False}}, {"a": DATE}),
    # $push
    ({"a": [1]}, {"$push": {"a": 2}}, {"a": [1, 2]}),
    ({"a": [1]}, {"$push": {"a": {"$sort": 1}}}, {"a": [1, {"$sort": 1}]}),
    ({}, {"$push": {"a.b": [1]}}, {"a": {"b": [[1]]}}),
    ({}, {"$push": {"a": {"$each": [3, 1], "$sort": 1, "$slice": -1}}}, {"a": [3]}),
    ({"a": [1]}, {"$push": {"a": {"$each": []}}}, {"a": [1]}),
    ({"a": [1, 2, 3]}, {"$push": {"a": {"$each": [9], "$position": -1}}}, {"a": [1, 2, 9, 3]}),
    ({"a": [1, 2]}, {"$push": {"a": {"$each": [9], "$position": -7}}}, {"a": [9, 1, 2]}),
    ({"a": [1, 2]}, {"$push": {"a": {"$each": [9], "$position": 7}}}, {"a": [1, 2, 9]}),
    ({"a": [1, 2]}, {"$push": {"a": {"$each": [9], "$slice": 0}}}, {"a": []}),
    ({"a": [1, 2]}, {"$push": {"a": {"$each": [9], "$slice": -2}}}, {"a": [2, 9]}),
    ({"a": [1, 2]}, {"$push": {"a": {"$each": [8, 9], "$slice": -1}}}, {"a": [9]}),
    ({"a": [1, 1]}, {"$push": {"a": {"$each": [1], "$slice": -2}}}, {"a": [1, 1]}),
    ({"a": [1, 2]}, {"$push": {"a": {"$each": [3, 1, 2], "$slice": -2}}}, {"a": [1, 2]}),
    ({"a": [1, 2]}, {"$push": {"a": {"$each": [1, 2.0], "$slice": -2}}}, {"a": [1, 2.0]}),
    ({"a": [1, 2]}, {"$push": {"a": {"$each": [9], "$slice": 2.0}}}, {"a": [1, 2]}),
    (
        {"a": [1, 2, 3]},
        {"$push": {"a": {"$each": [8, 9], "$position": 1, "$slice": -3}}},
        {"a": [9, 2, 3]},
    ),
    (
        {"a": [1, 2, 3]},
        {"$push": {"a": {"$each": [8, 9], "$position": 1, "$slice": 2}}},
        {"a": [1, 8]},
    ),
    ({"a": [3, 1]}, {"$push": {"a": {"$each": [2], "$sort": -1}}}, {"a": [3, 2, 1]}),
    ({"a": [1, 3]}, {"$push": {"a": {"$each": [2], "$sort": 1}}}, {"a": [1, 2, 3]}),
    ({"a": [1, 2]}, {"$push": {"a": {"$each": [], "$sort": 1}}}, {"a": [1, 2]}),
    (
        {"a": [{"n": [2]}, {"n": {"k": 1}}, 7, {}, {"n": 1}]},
        {"$push": {"a": {"$each": [], "$sort": {"n.k": 1}}}},
        {"a": [{"n": [2]}, 7, {}, {"n": 1}, {"n": {"k": 1}}]},
    ),
    (
        {"a": [{"x": 1, "y": 1}, {"x": 1, "y": 2}]},
        {"$push": {"a": {"$each": [{"x": 0}], "$sort": {"x": 1, "y": -1.0}}}},
        {"a": [{"x": 0}, {"x": 1, "y": 2}, {"x": 1, "y": 1}]},
    ),
    # $addToSet
    ({"a": [1]}, {"$addToSet": {"a": 1.0}}, {"a": [1]}),
    ({"a": [1]}, {"$addToSet": {"a": True}}, {"a": [1, True]}),
    (
        {"a": [{"x": 1, "y": 2}]},
        {"$addToSet": {"a": {"y": 2, "x": 1}}},
        {"a": [{"x": 1, "y": 2}, {"y": 2, "x": 1}]},
    ),
    ({}, {"$addToSet": {"a": {"$each": []}}}, {"a": []}),
    ({}, {"$addToSet": {"a": {"$each": [1, 1.0, 2]}}}, {"a": [1, 2]}),
    ({"a": [1, 1]}, {"$addToSet": {"a": {"$each": [1, 2, 2]}}}, {"a": [1, 1, 2]}),
    ({"a": []}, {"$addToSet": {"a": {"x": 1, "$each": [1]}}}, {"a": [{"x": 1, "$each": [1]}]}),
    # $pop
    ({"a": [1, 2]}, {"$pop": {"a": 1}}, {"a": [1]}),
    ({"a": [1, 2]}, {"$pop": {"a": -1.0}}, {"a": [2]}),
    ({"a": []}, {"$pop": {"a": 1, "b.c": 1}}, {"a": []}),
    ({"a": [1]}, {"$pop": {"a.7": 1}}, {"a": [1]}),
    # $pull, $pullAll
    ({"a": [1, [1], 2]}, {"$pull": {"a": 1}}, {"a": [[1], 2]}),
    ({"a": [1, [6], 7]}, {"$pull": {"a": {"$gte": 5}}}, {"a": [1]}),
    ({"a": [1, {}, {"x": 1}]}, {"$pull": {"a": {}}}, {"a": [1]}),
    ({"a": [{"x": 1, "y": 2}, {"x": 2}]}, {"$pull": {"a": {"x": 1}}}, {"a": [{"x": 2}]}),
    ({"a": [1, True]}, {"$pull": {"a": True}}, {"a": [1]}),
    ({"a": [1, None]}, {"$pull": {"a": None}}, {"a": [1]}),
    ({"a": [1, 2, 3, 4]}, {"$pull": {"a": {"$in": [2]}}}, {"a": [1, 3, 4]}),
    ({"a": [{"n": 1}, {"n": 2}]}, {"$pull": {"a": {"$or": [{"n": 1}]}}}, {"a": [{"n": 2}]}),
    ({"b": 1}, {"$pull": {"a": 1}}, {"b": 1}),
    ({"a": [1, 2, 1.0, [1]]}, {"$pullAll": {"a": [1, [1]]}}, {"a": [2]}),
    ({"a": [1, 2, 3]}, {"$pullAll": {"a": [7]}}, {"a": [1, 2, 3]}),
]


@pytest.mark.parametrize(("document", "update", "expected"), WORKS, ids=lambda value: text(value))
def test_works(document: Any, update: Any, expected: Any) -> None:
    before = text(document)
    assert text(apply_update(document, update, now=NOW)) == text(expected)
    assert text(apply_update(make_live(document, None), update, now=NOW)) == text(expected)
    assert text(document) == before
    if text(expected) == before:
        assert compile_update(document, update, now=NOW) == []


# document, update, kind, code
FAILS: list[tuple[Any, Any, str, int]] = [
    # the update as a whole
    ({}, [], "bad_operand", 9),
    ({}, None, "bad_operand", 9),
    ({}, {}, "unknown_operator", 9),
    ({}, {"a": 1}, "unknown_operator", 9),
    ({}, {"$foo": {"a": 1}}, "unknown_operator", 9),
    ({}, {"$set": {"a": 1}, "b": 1}, "unknown_operator", 9),
    ({}, {1: {"a": 1}}, "unknown_operator", 9),
    ({}, {"$set": 1}, "bad_operand", 9),
    ({}, {"$set": "a"}, "bad_operand", 9),
    ({}, {"$set": ["a"]}, "bad_operand", 9),
    ({}, {"$set": ""}, "bad_operand", 9),
    # paths
    ({}, {"$set": {"": 1}}, "empty_field_name", 56),
    ({}, {"$set": {"a..b": 1}}, "empty_field_name", 56),
    ({}, {"$set": {"a.": 1}}, "empty_field_name", 56),
    ({}, {"$set": {"$a": 1}}, "dollar_prefixed", 52),
    ({}, {"$rename": {"$a": "b"}}, "dollar_prefixed", 52),
    ({}, {"$rename": {"a": "$b"}}, "dollar_prefixed", 52),
    ({}, {"$set": {"$": 1}}, "bad_value", 2),
    ({}, {"$set": {"$[]": 1}}, "bad_value", 2),
    ({}, {"$set": {"a.$.b.$": 1}}, "bad_value", 2),
    # conflicts
    ({}, {"$set": {"a": 1, "a.b": 2}}, "path_conflict", 40),
    ({}, {"$set": {"a.b": 1, "a": 2}}, "path_conflict", 40),
    ({}, {"$set": {"a": 1}, "$unset": {"a": 1}}, "path_conflict", 40),
    ({}, {"$set": {"a.$[]": 1, "a.0": 1}}, "path_conflict", 40),
    ({}, {"$set": {"a.$[].b": 1, "a.0.c": 1}}, "path_conflict", 40),
    ({}, {"$rename": {"a": "b", "b": "a"}}, "path_conflict", 40),
    ({}, {"$rename": {"a": "b", "b": "c"}}, "path_conflict", 40),
    ({}, {"$rename": {"a": "b"}, "$set": {"a.x": 1}}, "path_conflict", 40),
    # places that cannot exist
    ({"a": None}, {"$set": {"a.b": 1}}, "path_not_viable", 28),
    ({"a": "s"}, {"$inc": {"a.b.c": 1}}, "path_not_viable", 28),
    ({"a": [1]}, {"$set": {"a.b": 1}}, "path_not_viable", 28),
    ({"a": [1]}, {"$set": {"a.-1": 1}}, "path_not_viable", 28),
    ({"a": [1]}, {"$set": {"a.99999999999": 1}}, "bad_value", 34),
    ({"a": [1]}, {"$set": {"a.1600000": 1}}, "bad_value", 34),
    ({"a": 1}, {"$pop": {"a.b": 1}}, "path_not_viable", 28),
    ({"a": [1]}, {"$pull": {"a.b": 1}}, "path_not_viable", 28),
    ({"a": 1}, {"$pullAll": {"a.b": [1]}}, "path_not_viable", 28),
    ({"a": {"b": True}}, {"$rename": {"a.b.c": "x"}}, "path_not_viable", 28),
    # $inc, $mul
    ({}, {"$inc": {"a": "1"}}, "type_mismatch", 14),
    ({}, {"$inc": {"a": True}}, "type_mismatch", 14),
    ({}, {"$mul": {"a": None}}, "type_mismatch", 14),
    ({"a": True}, {"$inc": {"a": 1}}, "type_mismatch", 14),
    ({"a": []}, {"$mul": {"a": 1}}, "type_mismatch", 14),
    ({"a": BIG}, {"$inc": {"a": 1}}, "overflow", 2),
    ({"a": -BIG}, {"$mul": {"a": 2}}, "overflow", 2),
    ({"a": 1e308}, {"$mul": {"a": 10.0}}, "overflow", 2),
    # $bit
    ({}, {"$bit": {"a": 1}}, "bad_value", 2),
    ({}, {"$bit": {"a": {}}}, "bad_value", 2),
    ({}, {"$bit": {"a": {"not": 1}}}, "bad_value", 2),
    ({}, {"$bit": {"a": {"and": 1.0}}}, "bad_value", 2),
    ({}, {"$bit": {"a": {"and": True}}}, "bad_value", 2),
    ({"a": 1.0}, {"$bit": {"a": {"and": 1}}}, "bad_value", 2),
    # $rename
    ({"a": 1}, {"$rename": {"a": 1}}, "bad_value", 2),
    ({"a": 1}, {"$rename": {"a": "a"}}, "bad_value", 2),
    ({"a": 1}, {"$rename": {"a": "a.b"}}, "bad_value", 2),
    ({"a": 1}, {"$rename": {"a.b": "a"}}, "bad_value", 2),
    ({"a": 1}, {"$rename": {"a": ""}}, "empty_field_name", 56),
    ({"a": 1}, {"$rename": {"a": "b.$[]"}}, "bad_value", 2),
    ({"a": 1}, {"$rename": {"a.$": "b"}}, "bad_value", 2),
    ({"a": [1]}, {"$rename": {"a.0": "b"}}, "bad_value", 2),
    ({"a": 1, "b": [1]}, {"$rename": {"a": "b.0"}}, "bad_value", 2),
    ({"a": 1, "b": [1]}, {"$rename": {"a": "b.x"}}, "bad_value", 2),
    ({"a": 1, "b": 1}, {"$rename": {"a": "b.x"}}, "path_not_viable", 28),
    # $currentDate
    ({}, {"$currentDate": {"a": 1}}, "bad_value", 2),
    ({}, {"$currentDate": {"a": {}}}, "bad_value", 2),
    ({}, {"$currentDate": {"a": {"$type": "x"}}}, "bad_value", 2),
    ({}, {"$currentDate": {"a": {"$type": ["date"]}}}, "bad_value", 2),
    ({}, {"$currentDate": {"a": {"$type": "date", "x": 1}}}, "bad_value", 2),
    # $push
    ({"a": 1}, {"$push": {"a": 1}}, "not_array", 2),
    ({"a": None}, {"$push": {"a": {"$each": [], "$sort": 1}}}, "not_array", 2),
    ({}, {"$push": {"a": {"$each": 1}}}, "bad_value", 2),
    ({}, {"$push": {"a": {"$each": [], "$foo": 1}}}, "bad_value", 2),
    ({}, {"$push": {"a": {"$each": [], "$slice": 1.5}}}, "bad_value", 2),
    ({}, {"$push": {"a": {"$each": [], "$slice": True}}}, "bad_value", 2),
    ({}, {"$push": {"a": {"$each": [], "$slice": 1e30}}}, "bad_value", 2),
    ({}, {"$push": {"a": {"$each": [], "$position": "1"}}}, "bad_value", 2),
    ({}, {"$push": {"a": {"$each": [], "$sort": 2}}}, "bad_value", 2),
    ({}, {"$push": {"a": {"$each": [], "$sort": True}}}, "bad_value", 2),
    ({}, {"$push": {"a": {"$each": [], "$sort": {}}}}, "bad_value", 2),
    ({}, {"$push": {"a": {"$each": [], "$sort": {"x": 0}}}}, "bad_value", 2),
    ({}, {"$push": {"a": {"$each": [], "$sort": {"x..y": 1}}}}, "bad_value", 2),
    # $addToSet, $pop, $pull, $pullAll
    ({"a": {}}, {"$addToSet": {"a": 1}}, "not_array", 2),
    ({}, {"$addToSet": {"a": {"$each": 1}}}, "type_mismatch", 14),
    ({}, {"$addToSet": {"a": {"$each": [1], "x": 1}}}, "bad_value", 2),
    ({}, {"$pop": {"a": 0}}, "bad_value", 9),
    ({}, {"$pop": {"a": "1"}}, "bad_value", 9),
    ({"a": 1}, {"$pop": {"a": 1}}, "not_array", 14),
    ({"a": 1}, {"$pull": {"a": 1}}, "not_array", 2),
    ({}, {"$pull": {"a": {"$foo": 1}}}, "bad_value", 2),
    ({}, {"$pull": {"a": {"$gt": 1, "x": 2}}}, "bad_value", 2),
    ({}, {"$pullAll": {"a": 1}}, "bad_value", 2),
    ({"a": 1}, {"$pullAll": {"a": [1]}}, "not_array", 2),
    # $[] and $[x]
    ({}, {"$set": {"a.$[]": 1}}, "array_path_missing", 2),
    ({"a": 1}, {"$set": {"a.$[]": 1}}, "not_array", 2),
    ({"a": [1]}, {"$set": {"a.5.$[]": 1}}, "array_path_missing", 2),
    ({"a": 1}, {"$set": {"a.b.$[]": 1}}, "array_path_missing", 2),
    ({}, {"$setOnInsert": {"a.$[]": 1}}, "array_path_missing", 2),
    ({"a": [1]}, {"$set": {"a.$[i]": 1}}, "array_filters", 2),
    ({"a": [1]}, {"$set": {"a.$": 1}}, "positional_no_match", 2),
    ({"a": ["x", 1]}, {"$inc": {"a.$[]": 1}}, "type_mismatch", 14),
]


@pytest.mark.parametrize(
    ("document", "update", "kind", "code"), FAILS, ids=lambda value: repr(value)[:60]
)
def test_fails(document: Any, update: Any, kind: str, code: int) -> None:
    before = text(document)
    for target in (document, make_live(document, None)):
        with pytest.raises(UpdateError) as caught:
            compile_update(target, update, now=NOW)
        assert (caught.value.kind, caught.value.server_code) == (kind, code)
    assert text(document) == before


def test_one_bad_operator_leaves_nothing_of_the_good_ones() -> None:
    document = {"a": 1, "z": "s"}
    with pytest.raises(UpdateError):
        apply_update(document, {"$set": {"a": 2, "b.c": 3}, "$inc": {"z": 1}})
    assert document == {"a": 1, "z": "s"}


# A valid update becomes invalid, step by step, and valid again: caches must not mix them up.
@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"$inc": {"a": 1}}, {"$inc": {"a": "x"}}),
        ({"$push": {"b": {"$each": [1]}}}, {"$push": {"b": {"$each": 1}}}),
        ({"$set": {"a": 1}}, {"$set": "a"}),
        ({"$set": {"a": 1}}, {"$set": ["a"]}),
        ({"$set": {"a": 1}, "$inc": {"c": 1}}, {"$set": {"a": 1, "$inc": 2, "c": 3}}),
        ({"$set": {}, "$inc": {}}, {"$set": {"$inc": 1}}),
        ({"$set": {}}, {"$set": ""}),
        ({"$rename": {"q": "r"}}, {"$rename": {"q": "q"}}),
        ({"$bit": {"a": {"or": 1}}}, {"$bit": {"a": {"or": 1.5}}}),
    ],
    ids=text,
)
def test_valid_becoming_invalid(good: Any, bad: Any) -> None:
    document = {"a": 1, "b": [0], "c": 1}
    expected = compile_update(document, good)
    for _ in range(2):
        with pytest.raises(UpdateError) as caught:
            compile_update(document, bad)
        with pytest.raises(UpdateError) as checked:
            check_update(bad)
        assert str(checked.value) == str(caught.value)
        assert compile_update(document, good) == expected
        assert check_update(good) == good


class TestPatches:
    """What comes out is minimal, and shares nothing with what went in."""

    @pytest.mark.parametrize(
        ("document", "update", "operations"),
        [
            (
                {"a": {"b": 1}},
                {"$set": {"a.b": 2}},
                [{"op": "replace", "path": "/a/b", "value": 2}],
            ),
            ({}, {"$set": {"a.b": 2}}, [{"op": "add", "path": "/a", "value": {"b": 2}}]),
            (
                {},
                {"$set": {"a.b": 2}, "$inc": {"a.c": 1}},
                [{"op": "add", "path": "/a", "value": {"b": 2, "c": 1}}],
            ),
            ({"a/b": 1}, {"$unset": {"a/b": ""}}, [{"op": "remove", "path": "/a~1b"}]),
            ({"a": [1, 2]}, {"$push": {"a": 3}}, [{"op": "add", "path": "/a/2", "value": 3}]),
            (
                {"a": [1, 2, 3, 4]},
                {"$pull": {"a": {"$in": [1, 3]}}},
                [{"op": "remove", "path": "/a/2"}, {"op": "remove", "path": "/a/0"}],
            ),
            (
                {"a": [1, 2, 3]},
                {"$push": {"a": {"$each": [4], "$slice": -3}}},
                [{"op": "remove", "path": "/a/0"}, {"op": "add", "path": "/a/2", "value": 4}],
            ),
            (
                {"a": [1, 3]},
                {"$push": {"a": {"$each": [2], "$sort": 1}}},
                [{"op": "add", "path": "/a/1", "value": 2}],
            ),
            (
                {"a": [1, 2, 3]},
                {"$pull": {"a": {"$lt": 3}}},
                [{"op": "replace", "path": "/a", "value": [3]}],
            ),
            (
                {"a": [1]},
                {"$set": {"a.2": 5, "a.3": 6}},
                [
                    {"op": "add", "path": "/a/1", "value": None},
                    {"op": "add", "path": "/a/2", "value": 5},
                    {"op": "add", "path": "/a/3", "value": 6},
                ],
            ),
        ],
        ids=text,
    )
    def test_minimal(self, document: Any, update: Any, operations: Any) -> None:
        assert compile_update(document, update) == operations

    def test_detached(self) -> None:
        document: dict[str, Any] = {"a": {"x": [1]}, "l": [[1], [2], [3]]}
        update: dict[str, Any] = {
            "$set": {"b": [1]},
            "$rename": {"a": "c"},
            "$pull": {"l": {"$in": [[1], [2]]}},
        }
        operations = compile_update(document, update)
        before, wanted = copied(document), copied(update)
        for operation in operations:
            if isinstance(operation.get("value"), list):
                operation["value"].append("changed")
            if isinstance(operation.get("value"), dict):
                operation["value"]["x"].append("changed")
        for operation in operations:
            for value in operation.get("value") or []:
                if isinstance(value, list):
                    value.append("changed")
        assert (document, update) == (before, wanted)

    def test_one_operand_at_many_places_is_not_shared(self) -> None:
        operations = compile_update({"a": [0, 0]}, {"$set": {"a.$[]": {"x": []}}})
        operations[0]["value"]["x"].append(1)
        assert operations[1]["value"] == {"x": []}


class TestPositional:
    """``$``, ``$[]`` and ``$[id]``."""

    @pytest.mark.parametrize(
        ("document", "update", "filters", "query", "expected"),
        [
            ({"a": [1, 5]}, {"$set": {"a.$": 0}}, None, {"a": 5}, {"a": [1, 0]}),
            ({"a": [1, 5]}, {"$set": {"a.$": 0, "a.0": 9}}, None, {"a": 5}, {"a": [9, 0]}),
            (
                {"a": [{"b": 1}, {"b": 2}]},
                {"$set": {"a.$.c": 0, "a.1.d": 9}},
                None,
                {"a.b": 2},
                {"a": [{"b": 1}, {"b": 2, "c": 0, "d": 9}]},
            ),
            (
                {"a": [1, 2], "b": [3, 4]},
                {"$set": {"a.$": 0}},
                None,
                {"a": 1, "b": 4},
                {"a": [1, 0], "b": [3, 4]},
            ),
            (
                {"a": [1, 2], "b": [3, 4]},
                {"$set": {"a.$": 0}},
                None,
                {"b": {"$elemMatch": {"$gt": 3}}},
                {"a": [1, 0], "b": [3, 4]},
            ),
            ({"a": [1, 2]}, {"$inc": {"a.$[]": 1}}, None, None, {"a": [2, 3]}),
            ({"a": []}, {"$inc": {"a.$[]": 1}}, None, None, {"a": []}),
            (
                {"a": [{"n": 1}, {"n": 2}]},
                {"$set": {"a.$[i].b": 1, "a.$[j].c": 2}},
                [{"i.n": 1}, {"j.n": {"$gte": 1}}],
                None,
                {"a": [{"n": 1, "b": 1, "c": 2}, {"n": 2, "c": 2}]},
            ),
            (
                {"a": [{"x": {"p": 1}}]},
                {"$set": {"a.$[i].x.q": 2, "a.$[j].x.r": 3}},
                [{"i.x.p": 1}, {"j.x.p": 1}],
                None,
                {"a": [{"x": {"p": 1, "q": 2, "r": 3}}]},
            ),
            (
                {"a": [[1, 2], [3]]},
                {"$inc": {"a.$[].$[i]": 10}},
                [{"i": {"$gt": 1}}],
                None,
                {"a": [[1, 12], [13]]},
            ),
            ({"a": {"b": 1}}, {"$set": {"a.$[x": 1}}, None, None, {"a": {"b": 1, "$[x": 1}}),
        ],
    )
    def test_works(
        self, document: Any, update: Any, filters: Any, query: Any, expected: Any
    ) -> None:
        after = apply_update(document, update, array_filters=filters, filter=query)
        assert text(after) == text(expected)

    @pytest.mark.parametrize(
        ("update", "filters", "query", "kind", "code"),
        [
            ({"$set": {"a.$": 0}}, None, {"a": 99}, "positional_no_match", 2),
            ({"$set": {"a.$": 0}}, None, {"z": None}, "positional_no_match", 2),
            ({"$set": {"a.$": 0}}, None, {"$foo": 1}, "bad_value", 2),
            ({"$set": {"a.$": 0, "a.0": 9}}, None, {"a": 1}, "path_conflict", 40),
            ({"$set": {"a.$[i]": 0, "a.$[j]": 9}}, [{"i": 1}, {"j": 1}], None, "path_conflict", 40),
            ({"$set": {"a.$[]": 0, "a.$[j].x": 9}}, [{"j": 1}], None, "path_conflict", 40),
            ({"$set": {"a.$[i]": 0}}, {"i": 1}, None, "array_filters", 14),
            ({"$set": {"a.$[i]": 0}}, [1], None, "array_filters", 14),
            ({"$set": {"a.$[i]": 0}}, [{}], None, "array_filters", 9),
            ({"$set": {"a.$[i]": 0}}, [{"i": 1, "j": 2}], None, "array_filters", 9),
            ({"$set": {"a.$[i]": 0}}, [{"i": 1}, {"i": 2}], None, "array_filters", 9),
            ({"$set": {"a.$[i]": 0}}, [{"i": 1}, {"j": 2}], None, "array_filters", 9),
            ({"$set": {"a.$[i]": 0}}, [{"i": {"$foo": 1}}], None, "array_filters", 2),
            ({"$set": {"a.$[I]": 0}}, [{"I": 1}], None, "array_filters", 2),
            ({"$set": {"a.$[i]": 0}}, [{"$or": [{"i": 1}, {"j": 1}]}], None, "array_filters", 9),
            ({"$set": {"a.0": 0}}, [{"i": 1}], None, "array_filters", 9),
        ],
    )
    def test_fails(self, update: Any, filters: Any, query: Any, kind: str, code: int) -> None:
        with pytest.raises(UpdateError) as caught:
            compile_update({"a": [1, 2]}, update, array_filters=filters, filter=query)
        assert (caught.value.kind, caught.value.server_code) == (kind, code)

    def test_identifiers_are_looked_at_anew_for_the_same_shape(self) -> None:
        update = {"$set": {"a.$[i]": 0}}
        assert compile_update({"a": [1]}, update, array_filters=[{"i": 1}])
        with pytest.raises(UpdateError, match="no array filter for the identifier"):
            compile_update({"a": [1]}, update)

    def test_check_update_can_do_without_the_filters(self) -> None:
        assert check_update({"$set": {"a.$[i]": 0}}) == {"$set": {"a.$[i]": 0}}
        update = {"$set": {"a.$[i]": 0}}
        assert check_update(update, [{"i": 1}]) == update
        with pytest.raises(UpdateError):
            check_update(update, [])


class TestInsertAndNow:
    def test_set_on_insert_acts_when_the_object_is_new(self) -> None:
        update = {"$setOnInsert": {"a": 1}, "$set": {"b": 2}}
        assert apply_update({}, update, insert=True) == {"a": 1, "b": 2}
        assert apply_update({"a": 1}, {"$setOnInsert": {"a": 1}}, insert=True) == {"a": 1}

    def test_the_time_is_needed_only_where_it_is_used(self) -> None:
        update = {"$currentDate": {"a": True}}
        assert check_update(update) == update
        with pytest.raises(UsageError, match="now="):
            compile_update({}, update)
        for naive in (datetime(2026, 1, 1), "2026-01-01"):
            with pytest.raises(UsageError, match="aware"):
                compile_update({}, update, now=naive)

    def test_the_time_is_told_in_utc(self) -> None:
        now = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2)))
        after = apply_update({}, {"$currentDate": {"a": True}}, now=now)
        assert after == {"a": "2025-12-31T22:00:00.000Z"}


class TestValues:
    @pytest.mark.parametrize(
        "update",
        [
            {"$set": {"a": {1}}},
            {"$set": {"a": {"b": [float("nan")]}}},
            {"$push": {"a": {"$each": [b"x"]}}},
            {"$inc": {"a": 2**63}},
            {"$addToSet": {"a": (1,)}},
            {"$pullAll": {"a": [1j]}},
            {"$set": {"x" * 1025: 1}},
            {"$set": {"ü" * 513: 1}},
            {"$set": {"a\ud800": 1}},
            {"$set": {1: 1}},
            {"$set": {".".join("a" * 101): 1}},
        ],
        ids=lambda update: repr(update)[:50],
    )
    def test_what_json_cannot_hold_is_refused_with_its_place(self, update: Any) -> None:
        for attempt in (lambda: compile_update({}, update), lambda: check_update(update)):
            with pytest.raises(NotSerializableError):
                attempt()

    def test_the_document_never_gets_deeper_than_the_limit(self) -> None:
        def nested(depth: int) -> Any:
            return [] if depth == 1 else [nested(depth - 1)]

        assert compile_update({}, {"$set": {"a": nested(99)}})
        assert check_update({"$push": {"a": {"$each": [nested(98)]}}})
        for update in (
            {"$set": {"a": nested(100)}},
            {"$set": {"a.b": nested(99)}},
            {"$push": {"a": nested(99)}},
            {"$push": {"a": {"$each": [nested(99)]}}},
            {"$addToSet": {"a": {"$each": [nested(99)]}}},
        ):
            with pytest.raises(NotSerializableError, match="deeper than 100"):
                compile_update({}, update)
        with pytest.raises(NotSerializableError, match="deeper than 100"):
            compile_update({"a": nested(99)}, {"$rename": {"a": "b.c"}})

    def test_check_update_detaches(self) -> None:
        update: dict[str, Any] = {"$set": {"a": [1]}}
        checked = check_update(update)
        update["$set"]["a"].append(2)
        assert checked == {"$set": {"a": [1]}}


def test_messages_name_operator_path_and_type() -> None:
    said = r"\$inc: the field 'a\.b' is string 'x', not a number"
    with pytest.raises(UpdateError, match=said) as e:
        compile_update({"a": {"b": "x"}}, {"$inc": {"a.b": 1}})
    assert e.value.path == "a.b"
    with pytest.raises(
        UpdateError, match=r"cannot create field 'b' of 'a\.b' in 'a', which is int"
    ):
        compile_update({"a": 1}, {"$set": {"a.b": 1}})
    with pytest.raises(UpdateError, match=r"\{'\$set': \{'b': ...\}\}"):
        compile_update({"a": 1}, {"b": 1})


def test_many_shapes_do_not_fill_the_memory() -> None:
    for number in range(plan._MAX_PLANS + 10):
        compile_update({}, {"$inc": {f"k{number}": 1}})
    assert len(plan._plans) <= plan._MAX_PLANS
    compile_update({}, {"$inc": {f"k{number}": 1 for number in range(plan._MAX_CACHED_STEPS + 1)}})
