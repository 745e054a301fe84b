"""The update operators on arrays: ``$push $addToSet $pop $pull $pullAll``.

They return a `Splice` wherever possible, so that a patch names only the elements that are added and
removed, not the whole array.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key
from typing import Any, NamedTuple

from ..failures import brief, failure
from ..order import (
    SCALAR_TYPES,
    as_integer,
    compare,
    equal_positions,
    equality_key,
    equality_keys,
    identical,
    is_number,
    type_name,
)
from ..paths import pointer_index
from ..query.query import PULL_OPERATORS, parse_condition, parse_query
from ..traversal import MISSING
from ..values import normalize
from .operators import (
    UNCHANGED,
    Absent,
    Change,
    Context,
    Operator,
    Rearranged,
    Splice,
)


def _require_array(name: str, current: Any, path: str, code: int = 0) -> list[Any]:
    if isinstance(current, list):
        return current
    raise failure(
        "not_array",
        f"{name}: the field {path!r} is {type_name(current)}, not an array",
        path,
        code,
    )


class Push(NamedTuple):
    """The operand of ``$push`` with its modifiers."""

    values: list[Any]
    position: int | None = None
    limit: int | None = None
    key: Callable[[Any], Any] | None = None


_MODIFIERS = ("$each", "$position", "$slice", "$sort")


def _prepare_push(operand: Any, path: str, depth: int) -> Push:
    if not isinstance(operand, dict) or "$each" not in operand:
        return Push([normalize(operand, path, depth + 1)])
    # Only the values become part of the document, so only they are checked at their depth in it.
    modifiers = {
        name: normalize(value, path, depth if name == "$each" else 0)
        for name, value in dict.items(operand)
    }
    for name in modifiers:
        if name not in _MODIFIERS:
            raise failure("bad_value", f"$push: unknown modifier {name!r}", path)
    values = modifiers["$each"]
    if not isinstance(values, list):
        raise failure("bad_value", f"$push: $each needs an array, not {type_name(values)}", path)
    limit = _whole_number("$slice", modifiers, path)
    key = _sort_key(modifiers["$sort"], path) if "$sort" in modifiers else None
    return Push(values, _whole_number("$position", modifiers, path), limit, key)


def _whole_number(name: str, modifiers: dict[str, Any], path: str) -> int | None:
    if name not in modifiers:
        return None
    number = as_integer(modifiers[name])
    if number is None:
        raise failure(
            "bad_value",
            f"$push: {name} needs a 64-bit integer, not {brief(modifiers[name])}",
            path,
        )
    return number


def _sort_key(pattern: Any, path: str) -> Callable[[Any], Any]:
    if not isinstance(pattern, dict):
        _require_direction(pattern, path)
        return cmp_to_key(lambda left, right: compare(left, right) * int(pattern))
    if not pattern:
        raise failure("bad_value", "$push: $sort needs at least one field", path)
    keys = []
    for field, direction in pattern.items():
        _require_direction(direction, path)
        if "" in field.split("."):
            raise failure("bad_value", f"$push: the $sort field {field!r} has an empty part", path)
        keys.append((field.split("."), int(direction)))

    def compare_elements(left: Any, right: Any) -> int:
        for parts, direction in keys:
            order = compare(_sort_value(left, parts), _sort_value(right, parts))
            if order:
                return order * direction
        return 0

    return cmp_to_key(compare_elements)


def _require_direction(direction: Any, path: str) -> None:
    if not is_number(direction) or direction not in (1, -1):
        raise failure(
            "bad_value",
            f"$push: $sort needs 1, -1 or an object of fields with 1 or -1, not {brief(direction)}",
            path,
        )


def _sort_value(element: Any, parts: list[str]) -> Any:
    """Return the value to sort by, or null if there is none. Paths enter arrays by index."""
    if not isinstance(element, dict):
        return None
    for part in parts:
        if isinstance(element, dict):
            element = dict.get(element, part)
        elif isinstance(element, list):
            index = pointer_index(part)
            element = element[index] if index is not None and index < len(element) else None
        else:
            return None
    return element


def _push(current: Any, push: Push, path: str, context: Context) -> Any:
    if current is MISSING:
        return _sliced(_sorted(push.values, push.key), push.limit)
    array = _require_array("$push", current, path)
    position = _insertion_index(len(array), push.position)
    if push.key is None:
        change = _splice(len(array), position, push)
        return UNCHANGED if _changes_nothing(array, change) else change
    pushed = list.copy(array)
    pushed[position:position] = push.values
    return Rearranged(_sliced(_sorted(pushed, push.key), push.limit))


def _insertion_index(length: int, position: int | None) -> int:
    if position is None:
        return length
    return max(0, length + position) if position < 0 else min(position, length)


def _sorted(values: list[Any], key: Callable[[Any], Any] | None) -> list[Any]:
    return values if key is None else sorted(values, key=key)


def _sliced(values: list[Any], limit: int | None) -> list[Any]:
    if limit is None:
        return values
    return values[:limit] if limit >= 0 else values[limit:]


def _splice(length: int, position: int, push: Push) -> Any:
    """Combine insertion and ``$slice``, so that no value is inserted and cut off again."""
    moved = len(push.values)
    first, last = _window(length + moved, push.limit)
    # Insertion shifts the old elements after it by `moved`.
    behind = _outside(position, length, first - moved, last - moved)
    before = _outside(0, position, first, last)
    values = push.values[max(0, first - position) : max(0, last - position)]
    if not (behind or before or values):
        return UNCHANGED
    return Splice(behind + before, position - len(before), values)


def _changes_nothing(array: list[Any], change: Any) -> bool:
    """Whether ``$slice`` cuts off the same values that are inserted, so the array stays equal."""
    if change is UNCHANGED or len(change.removed) != len(change.values):
        return False
    result = list.copy(array)
    for index in change.removed:
        del result[index]
    result[change.at : change.at] = change.values
    return identical(result, array)


def _window(total: int, limit: int | None) -> tuple[int, int]:
    """Return the range of a result of `total` elements that ``$slice`` keeps, as start and stop."""
    if limit is None:
        return 0, total
    return (0, min(limit, total)) if limit >= 0 else (max(0, total + limit), total)


def _outside(low: int, high: int, first: int, last: int) -> list[int]:
    """Return the indexes in ``[low, high)`` that are not in ``[first, last)``, in reverse order."""
    first = min(max(first, low), high)
    last = min(max(last, first), high)
    return [*range(high - 1, last - 1, -1), *range(first - 1, low - 1, -1)]


def _prepare_add_to_set(operand: Any, path: str, depth: int) -> list[Any]:
    if not isinstance(operand, dict) or next(iter(operand), "") != "$each":
        return [normalize(operand, path, depth + 1)]
    values = normalize(operand["$each"], path, depth)
    if not isinstance(values, list):
        raise failure(
            "type_mismatch",
            f"$addToSet: $each needs an array, not {type_name(values)}",
            path,
        )
    if len(operand) > 1:
        raise failure("bad_value", "$addToSet: nothing may follow $each", path)
    return _without_duplicates(values, set())


def _without_duplicates(values: list[Any], seen: set[Any]) -> list[Any]:
    """Return the first of each of the equal values; `seen` has the keys of known ones."""
    fresh: list[Any] = []
    for value in values:
        key = equality_key(value)
        if key not in seen:
            seen.add(key)
            fresh.append(value)
    return fresh


# The maximum number of values that are searched for one by one.
_FEW = 4


def _without_known(values: list[Any], known: list[Any], is_json: bool) -> list[Any]:
    """Return those of `values`, which have no duplicates, that are not in `known`.

    If `known` may hold foreign values, the keys find them.
    """
    if len(values) <= _FEW and (is_json or SCALAR_TYPES.issuperset(map(type, known))):
        return [value for value in values if not equal_positions(known, value)]
    return _without_duplicates(values, set(equality_keys(known)))


def _add_to_set(current: Any, values: list[Any], path: str, context: Context) -> Any:
    if current is MISSING:
        return values
    array = _require_array("$addToSet", current, path)
    fresh = _without_known(values, array, context.is_json)
    return Splice((), len(array), fresh) if fresh else UNCHANGED


def _prepare_pop(operand: Any, path: str, depth: int) -> int:
    end = as_integer(normalize(operand, path))
    if end not in (1, -1):
        raise failure(
            "bad_value",
            f"$pop: {path!r} needs 1 (the last) or -1 (the first), not {brief(operand)}",
            path,
            code=9,
        )
    return end


def _pop(current: Any, end: int, path: str, context: Context) -> Any:
    array = _require_array("$pop", current, path, code=14)
    if not array:
        return UNCHANGED
    return Splice((len(array) - 1 if end == 1 else 0,), 0, ())


# Finds the indexes of the elements to remove.
Search = Callable[[list[Any]], list[int]]


def _search(is_unwanted: Callable[[Any], bool]) -> Search:
    return lambda array: [
        index for index, item in enumerate(list.__iter__(array)) if is_unwanted(item)
    ]


def _prepare_pull(operand: Any, path: str, depth: int) -> Search:
    wanted = normalize(operand, path)
    if not isinstance(wanted, dict):
        return lambda array: equal_positions(array, wanted)
    if next(iter(wanted), None) in PULL_OPERATORS:
        condition = parse_condition(wanted)
        return _search(lambda item: condition.at(item, (), None))
    query = parse_query(wanted)
    return _search(lambda item: isinstance(item, dict) and query.test(item, None))


def _prepare_pull_all(operand: Any, path: str, depth: int) -> Search:
    values = normalize(operand, path)
    if not isinstance(values, list):
        raise failure(
            "bad_value",
            f"$pullAll: {path!r} needs an array, not {type_name(values)}",
            path,
        )
    unwanted = frozenset(map(equality_key, values))
    return lambda array: [
        index for index, key in enumerate(equality_keys(array)) if key in unwanted
    ]


def _culling(name: str) -> Change:
    def change(current: Any, search: Search, path: str, context: Context) -> Any:
        removed = search(_require_array(name, current, path))
        return Splice(removed[::-1], 0, ()) if removed else UNCHANGED

    return change


ARRAY_OPERATORS = (
    Operator("$push", _prepare_push, _push),
    Operator("$addToSet", _prepare_add_to_set, _add_to_set),
    Operator("$pop", _prepare_pop, _pop, Absent.IGNORES_IF_POSSIBLE),
    Operator("$pull", _prepare_pull, _culling("$pull"), Absent.IGNORES_IF_POSSIBLE),
    Operator("$pullAll", _prepare_pull_all, _culling("$pullAll"), Absent.IGNORES_IF_POSSIBLE),
)
