"""The filter language in tables: what matches, what does not, and what is no filter."""

from __future__ import annotations

import re
from typing import Any

import pytest

from memsync.document import apply_update, check_filter, make_live, matches
from memsync.document.query.regex import MAX_PATTERN_LENGTH
from memsync.errors import NotSerializableError, UpdateError

from .document_strategies import text

# document, filters that match it, filters that do not
TABLE: list[tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]] = [
    (
        {"a": 1},
        [
            {},
            {"a": 1},
            {"a": 1.0},
            {"a": {"$eq": 1}},
            {"a": {"$gt": 0, "$lt": 2}},
            {"a": {"$gte": 1, "$lte": 1}},
            {"a": {"$ne": 2}},
            {"a": {"$ne": True}},
            {"a": {"$in": [0, 1]}},
            {"a": {"$nin": [0, 2]}},
            {"a": {"$exists": True}},
            {"b": {"$exists": False}},
            {"b": {"$exists": None}},
            {"b": {"$exists": 0.0}},
            {"b": None},
            {"b": {"$in": [None]}},
            {"b": {"$gte": None}},
            {"b": {"$lte": None}},
            {"b": {"$ne": 1}},
            {"a": {"$not": {"$gt": 1}}},
            {"a": {"$mod": [2, 1]}},
            {"a": {"$mod": [2.9, 1.2]}},
            {"a": {"$type": "int"}},
            {"a": {"$type": "number"}},
            {"a": {"$type": ["string", 16]}},
            {"$and": [{"a": 1}, {"b": None}]},
            {"$or": [{"a": 2}, {"a": 1}]},
            {"$nor": [{"a": 2}, {"b": 1}]},
        ],
        [
            {"a": True},
            {"a": "1"},
            {"a": None},
            {"a": {"$gt": 1}},
            {"a": {"$gte": "0"}},
            {"a": {"$lt": 1}},
            {"a": {"$lte": 0}},
            {"a": {"$gt": None}},
            {"b": {"$gt": None}},
            {"b": {"$lt": None}},
            {"b": {"$type": "null"}},
            {"b": {"$mod": [2, 1]}},
            {"b": {"$size": 0}},
            {"a": {"$in": []}},
            {"a": {"$nin": [1]}},
            {"a": {"$exists": False}},
            {"b": {"$exists": 1}},
            {"a.b": 1},
            {"a": {"$not": {"$eq": 1}}},
            {"a": {"$type": "long"}},
            {"a": {"$type": "date"}},
            {"a": {"$type": -1}},
            {"a": {"$all": []}},
            {"a": {"$size": 1}},
            {"a": {"$elemMatch": {"$eq": 1}}},
            {"a": {"$regex": "1"}},
            {"a": 1, "b": 1},
            {"$nor": [{"a": 1}]},
        ],
    ),
    (
        {"a": [1, [2, 3], {"b": 4}], "e": [], "t": [True, None]},
        [
            {"a": 1},
            {"a": [2, 3]},
            {"a": [1, [2, 3], {"b": 4}]},
            {"a.0": 1},
            {"a.1": [2, 3]},
            {"a.1.0": 2},
            {"a.2.b": 4},
            {"a.b": 4},
            {"a.b": {"$exists": True}},
            {"a": {"$size": 3}},
            {"a.1": {"$size": 2}},
            {"a": {"$all": [1, [2, 3]]}},
            {"a": {"$all": [{"$elemMatch": {"$gte": 1}}, {"$elemMatch": {"b": 4}}]}},
            {"a": {"$elemMatch": {"b": {"$gt": 3}}}},
            {"a": {"$elemMatch": {"$size": 2}}},
            {"a": {"$elemMatch": {"0": 2}}},
            {"a": {"$elemMatch": {"$elemMatch": {"$eq": 3}}}},
            {"a": {"$elemMatch": {"$not": {"$gt": 0}}}},
            {"a": {"$elemMatch": {"$or": [{"b": 4}, {"b": 5}]}}},
            {"a": {"$type": "array"}},
            {"a": {"$type": 3}},
            {"a": {"$gte": 1, "$lt": 2}},
            {"e": []},
            {"e": {"$size": 0}},
            {"e.b": {"$exists": False}},
            {"t": None},
            {"t": True},
            {"a": {"$gt": [1]}},
            {"a": {"$in": [7, [2, 3]]}},
        ],
        [
            {"a": 2},
            {"a": [3, 2]},
            {"a.1": 2},
            {"a.0.b": 4},
            {"a.3": 1},
            {"e.b": None},
            {"e": None},
            {"e": {"$elemMatch": {"$exists": True}}},
            {"a": {"$ne": 1}},
            {"a": {"$nin": [4, 1]}},
            {"t": 1},
            {"a": {"$all": [1, 2]}},
            {"a": {"$elemMatch": {"b": 5}}},
            {"a": {"$elemMatch": {"$gt": 2, "$lt": 3}}},
            {"a": {"$size": 2}},
        ],
    ),
    (
        {"a": {"x": 1, "y": [{"z": 1}, {"z": [5, 6]}, 7]}},
        [
            {"a": {"x": 1, "y": [{"z": 1}, {"z": [5, 6]}, 7]}},
            {"a.y.z": 5},
            {"a.y.z": [5, 6]},
            {"a.y.1.z": 6},
            {"a.y.1.z.1": 6},
            {"a.y.z": {"$size": 2}},
            {"a.y": {"$elemMatch": {"z": {"$elemMatch": {"$gt": 5}}}}},
            {"a": {"$gt": {"x": 0}}},
            {"a.y.w": None},
            # The objects in the array have no field "2", which is null to a filter.
            {"a.y.2.z": None},
        ],
        [
            {"a": {"x": 1}},
            {"a": {"y": [{"z": 1}, {"z": [5, 6]}, 7], "x": 1}},
            {"a.y.0.z.0": 1},
            {"a": {"$lt": {"x": 1}}},
        ],
    ),
    (
        {"s": "Apple\npie", "big": 2**40, "f": 1.5, "n": -7, "z": False},
        [
            {"s": {"$regex": "^A"}},
            {"s": {"$regex": "^apple", "$options": "i"}},
            {"s": {"$options": "i", "$regex": "PIE"}},
            {"s": {"$regex": "^pie$", "$options": "m"}},
            {"s": {"$regex": "e.p", "$options": "s"}},
            {"s": {"$regex": "A p p # spaces", "$options": "xu"}},
            {"s": {"$not": {"$regex": "x"}}},
            {"big": {"$type": "long"}},
            {"f": {"$type": "double"}},
            {"f": {"$type": 1.0}},
            {"n": {"$mod": [4, -3]}},
            {"n": {"$mod": [-4, -3]}},
            {"z": {"$type": ["bool"]}},
            {"z": {"$gte": False}},
            {"s": {"$gt": "Apple", "$lt": "B"}},
        ],
        [
            {"s": {"$regex": "apple"}},
            {"s": {"$regex": "e.p"}},
            {"n": {"$mod": [4, 1]}},
            {"big": {"$type": "int"}},
            {"z": {"$lt": 1}},
        ],
    ),
]

YES = [(document, filter) for document, accepted, _ in TABLE for filter in accepted]
NO = [(document, filter) for document, _, refused in TABLE for filter in refused]


@pytest.mark.parametrize(("document", "filter"), YES, ids=text)
def test_matches(document: Any, filter: Any) -> None:
    assert matches(document, filter)
    assert matches(make_live(document, None), filter)
    assert not matches(document, {"$nor": [filter]})


@pytest.mark.parametrize(("document", "filter"), NO, ids=text)
def test_does_not_match(document: Any, filter: Any) -> None:
    assert not matches(document, filter)
    assert matches(make_live(document, None), {"$nor": [filter]})


NO_FILTERS: list[Any] = [
    [],
    None,
    {"$foo": 1},
    {"$gt": 1},
    {"$and": []},
    {"$or": {}},
    {"$nor": [1]},
    {"a": {"$foo": 1}},
    {"a": {"$gt": 1, "b": 2}},
    {"a": {"$in": 1}},
    {"a": {"$in": [{"$gt": 1}]}},
    {"a": {"$nin": None}},
    {"a": {"$all": 1}},
    {"a": {"$all": [{"$gt": 1}]}},
    {"a": {"$all": [{"$elemMatch": {}}, 1]}},
    {"a": {"$elemMatch": 1}},
    {"a": {"$elemMatch": {"$gt": 1, "b": 2}}},
    {"a": {"$not": 1}},
    {"a": {"$not": {}}},
    {"a": {"$not": {"b": 1}}},
    {"a": {"$size": -1}},
    {"a": {"$size": 1.5}},
    {"a": {"$size": True}},
    {"a": {"$mod": [1]}},
    {"a": {"$mod": [0, 1]}},
    {"a": {"$mod": ["a", 1]}},
    {"a": {"$mod": 5}},
    {"a": {"$type": "foo"}},
    {"a": {"$type": 99}},
    {"a": {"$type": True}},
    {"a": {"$type": [[]]}},
    {"a": {"$type": []}},
    {"a": {"$regex": 1}},
    {"a": {"$regex": "("}},
    {"a": {"$regex": "a", "$options": "q"}},
    {"a": {"$regex": "a", "$options": 1}},
    {"a": {"$options": "i"}},
    {"a": {"$regex": "x" * (MAX_PATTERN_LENGTH + 1)}},
]


@pytest.mark.parametrize("filter", NO_FILTERS, ids=lambda filter: repr(filter)[:50])
def test_is_no_filter(filter: Any) -> None:
    for attempt in (check_filter, lambda wrong: matches({"a": 1}, wrong)):
        with pytest.raises(UpdateError) as caught:
            attempt(filter)
        assert caught.value.kind == "bad_value"


def test_values_of_a_filter_are_checked_and_copied() -> None:
    with pytest.raises(NotSerializableError):
        check_filter({"a": {1, 2}})
    filter: dict[str, Any] = {"a": [1]}
    checked = check_filter(filter)
    filter["a"].append(2)
    assert checked == {"a": [1]}


class TestPatternsThatCouldTakeForEver:
    @pytest.mark.parametrize(
        "pattern",
        [
            "(a+)+b",
            "(a*)*",
            "((a+)b?)*",
            "(?:a|b+){2,}",
            "(x+x+)+y",
            r"([^\]]+)*",
            "(a{2,})+",
            "(.*)+",
        ],
    )
    def test_are_refused(self, pattern: str) -> None:
        with pytest.raises(UpdateError, match="for ever"):
            matches({"a": "aaaa"}, {"a": {"$regex": pattern}})

    @pytest.mark.parametrize(
        "pattern",
        [
            "(a+)b",
            "(a|b)+",
            r"\(a+\)+",
            "[(a+)]+",
            "(a+)?b+",
            "a{2,3}b*",
            "(ab)+c+",
            "(a)(b+)",
            r"[]+(]*",
        ],
    )
    def test_others_are_not(self, pattern: str) -> None:
        expected = re.search(pattern, "xaab+") is not None
        assert matches({"a": "xaab+"}, {"a": {"$regex": pattern}}) is expected

    def test_an_unbalanced_bracket_is_left_to_the_compiler(self) -> None:
        with pytest.raises(UpdateError, match="no regular expression"):
            matches({"a": "x"}, {"a": {"$regex": "a)+"}})


def test_a_pattern_that_python_would_warn_of_means_what_it_means_in_pcre() -> None:
    assert matches({"a": "x--y]"}, {"a": {"$regex": "^[[x]--y]$"}})


def test_pull_and_array_filters_speak_the_same_language() -> None:
    filter: dict[str, Any] = {"n": {"$gt": 1}, "$or": [{"s": "x"}, {"s": {"$exists": False}}]}
    items: list[Any] = [{"n": 1}, {"n": 2}, {"n": 3, "s": "x"}, {"n": 4, "s": "y"}]
    kept = [item for item in items if not matches(item, filter)]
    assert apply_update({"a": items}, {"$pull": {"a": filter}}) == {"a": kept}
    marked = apply_update(
        {"a": items},
        {"$set": {"a.$[i].hit": True}},
        array_filters=[{"i.n": {"$gt": 1}, "$or": [{"i.s": "x"}, {"i.s": {"$exists": False}}]}],
    )
    assert [item for item in marked["a"] if "hit" not in item] == kept
