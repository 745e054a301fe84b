"""The operators that a filter applies to one field: the inside of ``{"field": {...}}``.

A condition is evaluated in one of two ways: `at` a path of a document, traversing arrays as the
operator requires, or on a `single` value, as ``$elemMatch`` does with elements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from operator import eq, ge, gt, le, lt
from typing import Any, Protocol

from ...lasting import lasting
from ..failures import failure
from ..order import (
    ARRAY,
    BOOL,
    COMPARED_ALIKE,
    NULL,
    NUMBER,
    OBJECT,
    STRING,
    as_integer,
    compare,
    equality_key,
    is_number,
    rank,
    type_name,
)
from ..paths import Parts
from ..traversal import MISSING, reach

# The array indexes through which matches were found, in order.
MatchedIndexes = list[int]


class Condition(Protocol):
    """A test of the values that a path reaches."""

    def at(self, node: Any, parts: Parts, matched: MatchedIndexes | None) -> bool: ...

    def single(self, value: Any) -> bool: ...


@lasting
class Leaf:
    """True if one of the reached values passes `test`."""

    def __init__(self, test: Callable[[Any], bool], into_leaf: bool = True) -> None:
        self.single = test
        self.into_leaf = into_leaf

    def at(self, node: Any, parts: Parts, matched: MatchedIndexes | None) -> bool:
        value = node
        for part in parts:
            if isinstance(value, list):
                break
            value = dict.get(value, part, MISSING) if isinstance(value, dict) else MISSING
        if not isinstance(value, list):
            return self.single(value)  # no array on the path
        for value, index in reach(node, parts, 0, self.into_leaf):
            if self.single(value):
                if matched is not None and index is not None:
                    matched.append(index)
                return True
        return False


@lasting
class ElementMatch:
    """``$elemMatch``: true for an array with an element that passes `test`."""

    def __init__(self, test: Callable[[Any], bool]) -> None:
        self.test = test

    def _index(self, value: Any) -> int | None:
        if not isinstance(value, list):
            return None
        return next(
            (index for index, item in enumerate(list.__iter__(value)) if self.test(item)), None
        )

    def at(self, node: Any, parts: Parts, matched: MatchedIndexes | None) -> bool:
        for value, outer in reach(node, parts, 0, False):
            index = self._index(value)
            if index is not None:
                if matched is not None:
                    matched.append(index if outer is None else outer)
                return True
        return False

    def single(self, value: Any) -> bool:
        return self._index(value) is not None


@lasting
class AllOf:
    """True if all conditions are; true if there are none."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self.conditions = conditions

    def at(self, node: Any, parts: Parts, matched: MatchedIndexes | None) -> bool:
        return all(condition.at(node, parts, matched) for condition in self.conditions)

    def single(self, value: Any) -> bool:
        return all(condition.single(value) for condition in self.conditions)


@lasting
class Negation:
    """True if the condition is false; reports no matched indexes."""

    def __init__(self, condition: Condition) -> None:
        self.condition = condition

    def at(self, node: Any, parts: Parts, matched: MatchedIndexes | None) -> bool:
        return not self.condition.at(node, parts, None)

    def single(self, value: Any) -> bool:
        return not self.condition.single(value)


def equality(operand: Any) -> Condition:
    """``$eq``, also for a plain value; null also matches a missing field."""
    return Leaf(_comparison(operand, eq, or_equal=True))


def _comparison(
    operand: Any, holds: Callable[[Any, Any], bool], or_equal: bool
) -> Callable[[Any], bool]:
    kind = rank(operand)
    alike = COMPARED_ALIKE.get(type(operand), frozenset())

    def test(value: Any) -> bool:
        if type(value) in alike:
            return holds(value, operand)
        if value is MISSING:
            return kind == NULL and or_equal
        return rank(value) == kind and holds(compare(value, operand), 0)

    return test


def _greater(operand: Any) -> Condition:
    return Leaf(_comparison(operand, gt, or_equal=False))


def _at_least(operand: Any) -> Condition:
    return Leaf(_comparison(operand, ge, or_equal=True))


def _less(operand: Any) -> Condition:
    return Leaf(_comparison(operand, lt, or_equal=False))


def _at_most(operand: Any) -> Condition:
    return Leaf(_comparison(operand, le, or_equal=True))


def require_array(name: str, operand: Any) -> list[Any]:
    if not isinstance(operand, list):
        raise failure("bad_value", f"{name} needs an array, not {type_name(operand)}")
    return operand


REFERENCE_FIELDS = frozenset({"$ref", "$id", "$db"})
"""The fields of a DBRef: beside operators, a filter may name them without a path before."""


EQUALITY_HINT = "only $eq compares with an object whose first field starts with '$'"


def is_operator_object(value: Any) -> bool:
    """Whether a filter's value is an object of operators rather than a value to compare with.

    As in the server, only the first field is examined, and an object that also has the fields
    ``$ref`` and ``$id`` of a DBRef is a value.
    """
    if not (isinstance(value, dict) and next(iter(value), "").startswith("$")):
        return False
    return not ("$ref" in value and "$id" in value)


def _one_of(operand: Any) -> Condition:
    items = require_array("$in", operand)
    if any(map(is_operator_object, items)):
        raise failure("bad_value", f"$in cannot contain operators; {EQUALITY_HINT}")
    keys = frozenset(map(equality_key, items))
    return Leaf(lambda value: (None if value is MISSING else equality_key(value)) in keys)


def _exists(operand: Any) -> Condition:
    present = Leaf(lambda value: value is not MISSING)
    wanted = (
        operand is not None and operand is not False and not (is_number(operand) and not operand)
    )
    return present if wanted else Negation(present)


# Names and numbers of the BSON types. Types without JSON values are accepted but never match.
_TYPE_RANKS = {
    "string": STRING, 2: STRING, "object": OBJECT, 3: OBJECT, "array": ARRAY, 4: ARRAY,
    "bool": BOOL, 8: BOOL, "null": NULL, 10: NULL, "number": NUMBER,
}  # fmt: skip
_NUMBER_TYPES = {
    1: "double",
    16: "int",
    18: "long",
    "double": "double",
    "int": "int",
    "long": "long",
}
_FOREIGN_TYPES = {
    "binData", 5, "undefined", 6, "objectId", 7, "date", 9, "regex", 11, "dbPointer", 12,
    "javascript", 13, "symbol", 14, "javascriptWithScope", 15, "timestamp", 17, "decimal", 19,
    "minKey", -1, "maxKey", 127,
}  # fmt: skip


def _has_type(operand: Any) -> Condition:
    tests = [_type_test(name) for name in (operand if isinstance(operand, list) else [operand])]
    if not tests:
        raise failure("bad_value", "$type needs at least one type", code=9)
    return Leaf(lambda value: value is not MISSING and any(test(value) for test in tests))


def _type_test(name: Any) -> Callable[[Any], bool]:
    key = name if isinstance(name, str) else as_integer(name)
    if key in _TYPE_RANKS:
        wanted = _TYPE_RANKS[key]
        return lambda value: rank(value) == wanted
    if key in _NUMBER_TYPES:
        number = _NUMBER_TYPES[key]
        return lambda value: type_name(value) == number
    if key is not None and key in _FOREIGN_TYPES:
        return lambda value: False
    raise failure("bad_value", f"$type: unknown type {name!r}")


def _modulo(operand: Any) -> Condition:
    items = require_array("$mod", operand)
    if len(items) != 2 or not all(map(is_number, items)):
        raise failure("bad_value", "$mod needs an array of two numbers: [divisor, remainder]")
    divisor, remainder = (int(item) for item in items)
    if divisor == 0:
        raise failure("bad_value", "$mod: the divisor cannot be 0")

    def test(value: Any) -> bool:
        # The result has the sign of the dividend, as in C++, not that of the divisor, as in Python.
        if not is_number(value) or not isfinite(value):
            return False
        whole = int(value)
        modulus = abs(whole) % abs(divisor)
        return (modulus if whole >= 0 else -modulus) == remainder

    return Leaf(test)


def _size(operand: Any) -> Condition:
    size = as_integer(operand)
    if size is None or size < 0:
        raise failure("bad_value", "$size needs a whole number that is not negative")
    return Leaf(lambda value: isinstance(value, list) and len(value) == size, into_leaf=False)


# The operators whose operand contains no other condition. `query` adds those that nest.
PLAIN_PARSERS: dict[str, Callable[[Any], Condition]] = {
    "$eq": equality,
    "$exists": _exists,
    "$gt": _greater,
    "$gte": _at_least,
    "$in": _one_of,
    "$lt": _less,
    "$lte": _at_most,
    "$mod": _modulo,
    "$ne": lambda operand: Negation(equality(operand)),
    "$nin": lambda operand: Negation(_one_of(operand)),
    "$size": _size,
    "$type": _has_type,
}
