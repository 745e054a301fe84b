"""Comparison of JSON values: BSON's order, and the three kinds of equality the language needs.

* `compare`, `equal`: MongoDB's comparison, which ``$min``, ``$sort``, ``$addToSet`` and filters
  use: null < numbers < string < object < array < bool; ``1`` equals ``1.0``; field order matters.
* `identical`: both values have the same stored form; decides whether a ``$set`` changes anything.
* `json_equal`: the ``test`` of RFC 6902: field order does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import copysign
from typing import Any

from .containers import ReadOnlyDict, ReadOnlyList
from .encoding import encoded
from .failures import ForeignValueError, brief

NULL, NUMBER, STRING, OBJECT, ARRAY, BOOL = range(6)


class _Ranks(dict[type, int]):
    """Ranks by type; a subclass of an allowed type has the rank of that type."""

    def __missing__(self, kind: type) -> int:
        for base in (int, float, str, dict, list):
            if issubclass(kind, base):
                return self[base]
        raise ForeignValueError(kind.__name__)


_RANKS = _Ranks(
    {
        type(None): NULL,
        int: NUMBER,
        float: NUMBER,
        str: STRING,
        dict: OBJECT,
        ReadOnlyDict: OBJECT,
        list: ARRAY,
        ReadOnlyList: ARRAY,
        bool: BOOL,
    }
)

_TYPE_NAMES = {NULL: "null", STRING: "string", OBJECT: "object", ARRAY: "array", BOOL: "bool"}

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def rank(value: Any) -> int:
    """The rank of a value's type in BSON's order."""
    return _RANKS[type(value)]


def type_name(value: Any) -> str:
    """MongoDB's name for a value's type, for messages.

    >>> type_name(True), type_name(1), type_name(2**40), type_name(1.0), type_name([])
    ('bool', 'int', 'long', 'double', 'array')
    """
    if rank(value) != NUMBER:
        return _TYPE_NAMES[rank(value)]
    if isinstance(value, float):
        return "double"
    return "int" if -(2**31) <= value < 2**31 else "long"


def described(value: Any) -> str:
    """A value with its type, for messages.

    >>> described("x"), described(None)
    ("string 'x'", 'null')
    """
    return "null" if value is None else f"{type_name(value)} {brief(value)}"


def is_number(value: Any) -> bool:
    """Whether `value` is an int or a float, but not a bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def plain_number(value: Any) -> int | float | None:
    """Return an instance of a subclass of int or float as that type; None if it is no number."""
    if not is_number(value):
        return None
    return int.__add__(value, 0) if isinstance(value, int) else float.__mul__(value, 1.0)


def as_integer(value: Any) -> int | None:
    """Return the 64-bit integer that `value` equals exactly (``2.0`` is 2), or None."""
    if not is_number(value) or value != int(value):
        return None
    return int(value) if INT64_MIN <= value <= INT64_MAX else None


def compare(left: Any, right: Any) -> int:
    """Return -1, 0 or 1, in the order that MongoDB documents as comparison/sort order.

    >>> compare(2, "1"), compare(True, [9]), compare({"a": 1}, {"b": 0})
    (-1, 1, -1)
    """
    kind, other = _RANKS[type(left)], _RANKS[type(right)]
    if kind != other:
        return -1 if kind < other else 1
    if kind == OBJECT:
        return _compare_objects(left, right)
    if kind == ARRAY:
        return _compare_arrays(left, right)
    if kind == NULL:
        return 0
    return int(left > right) - int(left < right)


def _compare_objects(left: Any, right: Any) -> int:
    for (name, value), (other_name, other) in zip(
        dict.items(left), dict.items(right), strict=False
    ):
        by_type = rank(value) - rank(other)
        if by_type:
            return -1 if by_type < 0 else 1
        if name != other_name:
            if not (isinstance(name, str) and isinstance(other_name, str)):
                raise ForeignValueError
            return -1 if name < other_name else 1
        by_value = compare(value, other)
        if by_value:
            return by_value
    return int(len(left) > len(right)) - int(len(left) < len(right))


def _compare_arrays(left: Any, right: Any) -> int:
    for value, other in zip(list.__iter__(left), list.__iter__(right), strict=False):
        by_value = compare(value, other)
        if by_value:
            return by_value
    return int(len(left) > len(right)) - int(len(left) < len(right))


def equal(left: Any, right: Any) -> bool:
    """Whether MongoDB treats two values as equal: ``1 == 1.0``, ``True != 1``, fields in order."""
    return compare(left, right) == 0


def equality_key(value: Any) -> Any:
    """Return a hashable key that two values share exactly when they are `equal`.

    >>> equality_key(1) == equality_key(1.0), equality_key(1) == equality_key(True)
    (True, False)
    """
    kind = _RANKS[type(value)]
    if kind == OBJECT:
        fields = [(name, equality_key(item)) for name, item in dict.items(value)]
        return (OBJECT, *fields)
    if kind == ARRAY:
        return (ARRAY, *map(equality_key, list.__iter__(value)))
    return (BOOL, value) if kind == BOOL else value


_TYPES = frozenset(_RANKS)
SCALAR_TYPES = frozenset({type(None), bool, int, float, str})
# The types whose values are their own `equality_key`.
_OWN_KEYS = frozenset({type(None), int, float, str})
# For a type: the types whose values Python and MongoDB compare with it alike.
COMPARED_ALIKE: dict[type, frozenset[type]] = {
    bool: frozenset({bool}),
    int: frozenset({int, float}),
    float: frozenset({int, float}),
    str: frozenset({str}),
}


def equality_keys(array: list[Any]) -> Iterable[Any]:
    """Return the `equality_key` of each element."""
    items: Iterable[Any] = list.__iter__(array)
    if _OWN_KEYS.issuperset(map(type, list.__iter__(array))):
        return items
    return map(equality_key, items)


def equal_positions(array: list[Any], value: Any) -> list[int]:
    """Return the indexes of the elements that are `equal` to `value`.

    >>> equal_positions([1, True, 1.0, "1"], 1)
    [0, 2]
    """
    types = set(map(type, list.__iter__(array)))
    alike = COMPARED_ALIKE.get(type(value), _NO_TYPES)
    if types <= alike:
        return _positions(array, value)
    items = enumerate(list.__iter__(array))
    if alike and types <= _TYPES:
        return [index for index, item in items if type(item) in alike and item == value]
    if type(value) is dict and types <= _TYPES:
        # Python's comparison ignores the order of fields, and takes 1 for true.
        return [
            index
            for index, item in items
            if isinstance(item, dict) and _have_equal_fields(item, value) and equal(item, value)
        ]
    return [index for index, item in items if equal(item, value)]


_NO_TYPES: frozenset[type] = frozenset()


def _positions(array: list[Any], value: Any) -> list[int]:
    found: list[int] = []
    start = 0
    try:
        while True:  # `index` searches in C, and raises at the end
            found.append(list.index(array, value, start))
            start = found[-1] + 1
    except ValueError:
        return found


# `==` would copy a live object.
_have_equal_fields = dict.__eq__


def identical(left: Any, right: Any) -> bool:
    """Whether replacing one value with the other would change nothing at all.

    >>> identical({"a": 1}, {"a": 1}), identical(1, 1.0), identical(0.0, -0.0)
    (True, False, False)
    """
    for kind in (dict, list):
        if isinstance(left, kind):
            if not isinstance(right, kind) or len(left) != len(right):
                return False
            try:
                # The encoding keeps types and the order of keys, and is compared in C.
                return encoded(left) == encoded(right)
            except (TypeError, OverflowError, UnicodeEncodeError):  # no JSON, or of a subclass
                return _have_identical_items(left, right)
    if type(left) is not type(right) or left != right:
        return False
    return type(left) is not float or copysign(1, left) == copysign(1, right)


def _have_identical_items(left: Any, right: Any) -> bool:
    """What `identical` means for two containers of one kind and size that have no encoding.

    The document of a program may hold values that memsync does not share. What is only replaced or
    compared does not matter; raises `ForeignValueError` for a type without a rank.
    """
    if isinstance(left, dict):
        if list(dict.keys(left)) != list(dict.keys(right)):
            return False
        pairs = zip(dict.values(left), dict.values(right), strict=True)
    else:
        pairs = zip(list.__iter__(left), list.__iter__(right), strict=True)
    return all(rank(one) == rank(other) and identical(one, other) for one, other in pairs)


def json_equal(left: Any, right: Any) -> bool:
    """Whether two values are equal under RFC 6902, 4.6: numbers by value, objects as sets."""
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and len(left) == len(right)
            and all(
                name in right and json_equal(value, dict.__getitem__(right, name))
                for name, value in dict.items(left)
            )
        )
    if isinstance(left, list):
        return (
            isinstance(right, list)
            and len(left) == len(right)
            and all(map(json_equal, list.__iter__(left), list.__iter__(right)))
        )
    return rank(left) == rank(right) and bool(left == right)
