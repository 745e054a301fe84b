"""Hypothesis strategies and helpers which the tests of the document language share."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

NAMES = ["a", "b", "c", "0", "1", "2", "d/e", "x~"]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.sampled_from([1.0, 2.5, -0.0, 0.0, 2**40, -(2**63), 2**63 - 1, "", "s", "Größe"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=8,
)
documents = st.dictionaries(st.sampled_from(NAMES), values, max_size=5)

# Anything that JSON can say, not only what makes sense.
arbitrary = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("$")
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)

_parts = st.one_of(
    st.sampled_from(["a", "b", "c", "0", "1", "2"]),
    st.sampled_from(["a", "b", "5", "d/e", "x~", "$[]", "$[i]", "01", "30"]),
)
paths = st.lists(_parts, min_size=1, max_size=3).map(".".join)

_each = st.lists(values, max_size=3)
_pushes = st.one_of(
    values,
    st.fixed_dictionaries(
        {"$each": _each},
        optional={
            "$position": st.integers(-5, 5),
            "$slice": st.integers(-5, 6),
            "$sort": st.sampled_from([1, -1, {"a": 1}, {"a": -1, "b": 1}]),
        },
    ),
)
_conditions = st.one_of(
    values,
    st.sampled_from(
        [{"$gte": 1}, {"$in": [1, "s", None]}, {"a": 1}, {"a": {"$exists": True}}, {"$ne": 1}]
    ),
)
OPERANDS: dict[str, st.SearchStrategy[Any]] = {
    "$set": values,
    "$setOnInsert": values,
    "$unset": st.just(""),
    "$inc": st.sampled_from([0, 1, -2, 2.5, 2**62]),
    "$mul": st.sampled_from([0, 1, -2, 2.5, 2**40]),
    "$min": values,
    "$max": values,
    "$rename": paths,
    "$currentDate": st.sampled_from([True, {"$type": "date"}, {"$type": "timestamp"}]),
    "$bit": st.dictionaries(
        st.sampled_from(["and", "or", "xor"]), st.integers(0, 7), min_size=1, max_size=2
    ),
    "$push": _pushes,
    "$addToSet": st.one_of(values, _each.map(lambda items: {"$each": items})),
    "$pop": st.sampled_from([1, -1]),
    "$pull": _conditions,
    "$pullAll": _each,
}


def operations_of(name: str) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    fields = st.dictionaries(paths, OPERANDS[name], min_size=1, max_size=2)
    return fields.map(lambda chosen: (name, chosen))


_operators = st.sampled_from(sorted(OPERANDS)).flatmap(operations_of)
updates = st.lists(_operators, min_size=1, max_size=3).map(dict)

_pointers = st.lists(st.sampled_from(["a", "b", "0", "1", "-", "d~1e"]), max_size=3).map(
    lambda tokens: "".join(f"/{token}" for token in tokens)
)
operations = st.one_of(
    st.builds(
        lambda op, path, value: {"op": op, "path": path, "value": value},
        st.sampled_from(["add", "replace", "test"]),
        _pointers,
        values,
    ),
    st.builds(lambda path: {"op": "remove", "path": path}, _pointers),
    st.builds(
        lambda op, path, source: {"op": op, "path": path, "from": source},
        st.sampled_from(["move", "copy"]),
        _pointers,
        _pointers,
    ),
)
patches = st.lists(operations, max_size=5)


def text(value: Any) -> str:
    """A value with everything that makes a difference: types, and the order of keys."""
    return json.dumps(value)


def copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


def same(left: Any, right: Any, strict: bool = False) -> bool:
    """Equality as the shared test data wants it: key order ignored, bool is no number."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and left.keys() == right.keys()
            and all(same(left[key], right[key], strict) for key in left)
        )
    if isinstance(left, list):
        return (
            isinstance(right, list)
            and len(left) == len(right)
            and all(same(x, y, strict) for x, y in zip(left, right, strict=True))
        )
    if strict and type(left) is not type(right):
        return False
    return bool(left == right)
