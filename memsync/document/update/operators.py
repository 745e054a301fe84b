"""The update operators that compute a new value from the current value.

Every operator has two parts. `prepare` checks the operand, without a document, and converts it to
the form that `change` expects. `change` takes the current value, or `MISSING`, and returns the new
one, `UNCHANGED`, `REMOVED`, or a `Splice` of an array. Semantics and errors are those of MongoDB's
server 8; its manual and source are the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import Enum
from math import inf, isfinite
from operator import add, and_, mul, or_, xor
from typing import Any, NamedTuple

from ...errors import UsageError
from ...lasting import lasting
from ..failures import brief, failure
from ..order import (
    INT64_MAX,
    INT64_MIN,
    compare,
    described,
    identical,
    is_number,
    plain_number,
    type_name,
)
from ..traversal import MISSING
from ..values import normalize

if "REMOVED" not in globals():  # `importlib.reload` keeps them
    UNCHANGED: Any = type("Unchanged", (), {"__repr__": lambda self: "UNCHANGED"})()
    REMOVED: Any = type("Removed", (), {"__repr__": lambda self: "REMOVED"})()


@lasting
class Splice(NamedTuple):
    """A change of an array: remove indexes, the last one first, then insert `values` at `at`."""

    removed: Sequence[int]
    at: int
    values: Sequence[Any]


@lasting
class Rearranged(NamedTuple):
    """The new content of an array, made of old and new elements."""

    values: list[Any]


@lasting
class Absent(Enum):
    """What an operator does if its path does not exist."""

    CREATES = "creates it, with the parents it lacks"
    IGNORES = "does nothing"
    IGNORES_IF_POSSIBLE = "does nothing, unless the path could not exist: through a scalar"


class Context(NamedTuple):
    """What an operator may know besides the value.

    This is the time, whether it is an insert, and whether the document is known to hold only JSON.
    """

    now: Any
    insert: bool
    is_json: bool = False


# The operand, and for messages and limits the path and its number of parts.
Prepare = Callable[[Any, str, int], Any]
# The current value, the prepared operand, the path.
Change = Callable[[Any, Any, str, Context], Any]


class Operator(NamedTuple):
    """One update operator."""

    name: str
    prepare: Prepare
    change: Change
    absent: Absent = Absent.CREATES


def prepare_value(operand: Any, path: str, depth: int) -> Any:
    return normalize(operand, path, depth)


def _set(current: Any, value: Any, path: str, context: Context) -> Any:
    return UNCHANGED if current is not MISSING and identical(current, value) else value


def _set_on_insert(current: Any, value: Any, path: str, context: Context) -> Any:
    return _set(current, value, path, context) if context.insert else UNCHANGED


def _ignore_operand(operand: Any, path: str, depth: int) -> Any:
    return normalize(operand, path)


def _unset(current: Any, operand: Any, path: str, context: Context) -> Any:
    return REMOVED


def _prepare_number(name: str) -> Prepare:
    def prepare(operand: Any, path: str, depth: int) -> Any:
        if type(operand) is int and INT64_MIN <= operand <= INT64_MAX:
            return operand
        number = normalize(operand, path)
        if not is_number(number):
            raise failure(
                "type_mismatch",
                f"{name}: the operand for {path!r} is {described(number)}, not a number",
                path,
            )
        return number

    return prepare


def _arithmetic(name: str, compute: Callable[[Any, Any], Any]) -> Change:
    def change(current: Any, operand: Any, path: str, context: Context) -> Any:
        known = current
        if current is MISSING:
            current = 0
        elif type(current) is not int and type(current) is not float:
            known = plain_number(current)
            if known is None:
                raise failure(
                    "type_mismatch",
                    f"{name}: the field {path!r} is {described(current)}, not a number",
                    path,
                )
            current = known
        try:
            result = compute(current, operand)
        except OverflowError:
            result = inf  # an integer too large for a float, which a document should not hold
        fits = INT64_MIN <= result <= INT64_MAX if type(result) is int else isfinite(result)
        if not fits:
            raise failure(
                "overflow",
                f"{name}: the result for {path!r} does not fit: "
                f"{brief(current)} and {brief(operand)}",
                path,
            )
        if result == known and identical(result, known):
            return UNCHANGED
        return result

    return change


def _extreme(sign: int) -> Change:
    def change(current: Any, operand: Any, path: str, context: Context) -> Any:
        if current is MISSING or compare(operand, current) == sign:
            return operand
        return UNCHANGED

    return change


_BIT_OPERATIONS: dict[str, Callable[[int, int], int]] = {"and": and_, "or": or_, "xor": xor}


def _prepare_bit(operand: Any, path: str, depth: int) -> Any:
    operations = normalize(operand, path)
    if not isinstance(operations, dict) or not operations:
        raise failure(
            "bad_value",
            f"$bit: {path!r} needs an object like {{'and': 5}}, not {brief(operations)}",
            path,
        )
    for name, bits in operations.items():
        if name not in _BIT_OPERATIONS:
            raise failure("bad_value", f"$bit knows 'and', 'or' and 'xor', not {name!r}", path)
        if type(bits) is not int:
            raise failure(
                "bad_value",
                f"$bit: the operand of {name!r} is {type_name(bits)}, not an integer",
                path,
            )
    return operations


def _bit(current: Any, operations: Any, path: str, context: Context) -> Any:
    known = current
    if current is MISSING:
        current = 0
    elif type(current) is not int:
        known = plain_number(current)
        if type(known) is not int:
            raise failure(
                "bad_value",
                f"$bit: the field {path!r} is {type_name(current)}, not an integer",
                path,
            )
        current = known
    for name, bits in operations.items():
        current = _BIT_OPERATIONS[name](current, bits)
    return UNCHANGED if current == known else current


def _prepare_date(operand: Any, path: str, depth: int) -> Any:
    wanted = normalize(operand, path)
    if isinstance(wanted, bool):
        return wanted
    if not isinstance(wanted, dict):
        raise failure(
            "bad_value",
            f"$currentDate: {path!r} needs true or {{'$type': 'date'}}, not {type_name(wanted)}",
            path,
        )
    if list(wanted) != ["$type"] or wanted["$type"] not in ("date", "timestamp"):
        raise failure(
            "bad_value",
            f"$currentDate: {path!r} needs {{'$type': 'date'}} or {{'$type': 'timestamp'}}",
            path,
        )
    return wanted


def _current_date(current: Any, operand: Any, path: str, context: Context) -> Any:
    now = context.now
    if now is None:
        raise UsageError("$currentDate needs the time: pass now=datetime.now(timezone.utc)")
    offset = now.utcoffset() if isinstance(now, datetime) else None
    if offset is None:
        raise UsageError(f"now must be an aware datetime, one with a time zone, not {brief(now)}")
    try:
        utc = now.replace(tzinfo=None) - offset
    except OverflowError:
        raise UsageError(f"now is beyond the years 1 to 9999 in UTC: {now!r}") from None
    text = utc.isoformat(timespec="milliseconds") + "Z"
    return UNCHANGED if current == text else text


VALUE_OPERATORS = (
    Operator("$set", prepare_value, _set),
    Operator("$setOnInsert", prepare_value, _set_on_insert),
    Operator("$unset", _ignore_operand, _unset, Absent.IGNORES),
    Operator("$inc", _prepare_number("$inc"), _arithmetic("$inc", add)),
    Operator("$mul", _prepare_number("$mul"), _arithmetic("$mul", mul)),
    Operator("$min", prepare_value, _extreme(-1)),
    Operator("$max", prepare_value, _extreme(1)),
    Operator("$bit", _prepare_bit, _bit),
    Operator("$currentDate", _prepare_date, _current_date),
)
