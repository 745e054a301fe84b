"""Which values a document may hold: `normalize` checks and copies a value in one walk.

The first walk does not keep track of the path. Only if it meets an invalid value does a second,
slower walk find the path, so that the error can name it.
"""

from __future__ import annotations

from collections.abc import Collection
from math import isfinite
from typing import Any, NoReturn

from ..errors import NotSerializableError
from .containers import ReadOnlyDict, ReadOnlyList, Tracked, to_plain
from .failures import ForeignValueError
from .order import INT64_MAX, INT64_MIN, SCALAR_TYPES

MAX_DEPTH = 100
MAX_FIELD_BYTES = 1024


def normalize(value: Any, path: str = "", depth: int = 0) -> Any:
    """Return a detached copy of `value` in plain types.

    Allowed are None, bool, 64-bit int, finite float, str that UTF-8 can encode, list, and dict with
    str keys of at most 1 KiB, nested at most 100 levels deep, counted from `depth`. Instances of
    subclasses become instances of the base type. Raises `NotSerializableError` for anything else;
    its ``path`` starts with `path`.

    >>> normalize({"a": (1,)}, "x")
    Traceback (most recent call last):
    memsync.errors.NotSerializableError: x.a: a value of type tuple cannot be shared; use a list
    """
    if type(value) is int and INT64_MIN <= value <= INT64_MAX:
        return value
    try:
        return _copy(value, depth)
    except ForeignValueError:
        _explain(value, path, depth, ())
        # The value is valid now, so another thread changed it between the two walks.
        _refuse(path, "the value changed while it was read")


def are_scalars(values: Collection[Any]) -> bool:
    """Whether `normalize` returns each of these values as it is; False for containers.

    It consists of loops in C, so that it costs little for a thousand values.
    """
    kinds = set(map(type, values))
    if not kinds <= SCALAR_TYPES:
        return False
    if int in kinds:
        numbers = _of_type(int, values, kinds)
        if min(numbers) < INT64_MIN or max(numbers) > INT64_MAX:
            return False
    if float in kinds and not all(map(isfinite, _of_type(float, values, kinds))):
        return False
    return str not in kinds or _encodable("".join(_of_type(str, values, kinds)))


def _of_type(kind: type, values: Collection[Any], kinds: set[type]) -> Collection[Any]:
    return values if len(kinds) == 1 else [value for value in values if type(value) is kind]


def detached(value: Any) -> Any:
    """Return a copy of a part of a document in plain types, without taking the guard.

    Raises `ForeignValueError` for a value that JSON cannot hold; `explain_foreign` finds its path.
    """
    if isinstance(value, (ReadOnlyDict, ReadOnlyList)):
        return to_plain(value)  # a shared value has been checked already
    return _copy(value, 0)


def explain_foreign(document: Any) -> None:
    """Raise `NotSerializableError` for the first value in `document` that is not JSON, if any."""
    normalize(document)


def _copy(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        if value.isascii() or _encodable(value):
            return value
        raise ForeignValueError
    if value is None or kind is bool:
        return value
    if kind is int:
        if INT64_MIN <= value <= INT64_MAX:
            return value
        raise ForeignValueError
    if kind is float:
        if isfinite(value):
            return value
        raise ForeignValueError
    if depth >= MAX_DEPTH:
        raise ForeignValueError
    if kind is dict:
        return {
            name
            if type(name) is str and len(name) <= 256 and name.isascii()
            else field_name(name): _copy(item, depth + 1)
            for name, item in value.items()
        }
    if kind is list:
        return [_copy(item, depth + 1) for item in value]
    return _copy(_base(value), depth)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def field_name(name: Any) -> str:
    """Return `name` as a plain str. Raises `ForeignValueError` unless it is a valid field name."""
    if not isinstance(name, str):
        raise ForeignValueError
    plain = _base(name)
    if not _encodable(plain) or len(plain.encode()) > MAX_FIELD_BYTES:
        raise ForeignValueError
    return str(plain)


def _base(value: Any) -> Any:
    """Return `value` as the allowed type that its class extends."""
    if isinstance(value, (ReadOnlyDict, ReadOnlyList)):
        return value.copy()  # takes the guard
    if isinstance(value, Tracked):
        return value._content()
    if isinstance(value, dict):
        return dict(dict.items(value))
    if isinstance(value, list):
        return list(list.__iter__(value))
    if isinstance(value, str):
        return str.__getitem__(value, slice(None))
    if isinstance(value, int):
        return int.__add__(value, 0)
    if isinstance(value, float):
        return float.__mul__(value, 1.0)
    raise ForeignValueError


_INSTEAD = {
    "bytes": "base64.b64encode(...).decode()",
    "datetime": "its isoformat()",
    "frozenset": "a list",
    "set": "a list",
    "tuple": "a list",
}


def _explain(value: Any, path: str, depth: int, parents: tuple[int, ...]) -> None:
    """Raise for the first invalid value at or below `value`; return if there is none."""
    if isinstance(value, str):
        if not _encodable(value):
            _refuse(path, "the string holds a lone surrogate, which UTF-8 cannot encode")
    elif isinstance(value, int):
        if not INT64_MIN <= value <= INT64_MAX:
            _refuse(path, "the integer does not fit into 64 bits; use a float or a string")
    elif isinstance(value, float):
        if not isfinite(value):
            _refuse(path, f"the number {value} is not finite, JSON has no such number")
    elif isinstance(value, (dict, list)):
        _explain_container(value, path, depth, parents)
    elif value is not None:
        name = type(value).__name__
        hint = f"; use {_INSTEAD[name]}" if name in _INSTEAD else ""
        _refuse(path, f"a value of type {name} cannot be shared{hint}")


def _explain_container(value: Any, path: str, depth: int, parents: tuple[int, ...]) -> None:
    if id(value) in parents:
        _refuse(path, f"the {type(value).__name__} contains itself")
    if depth >= MAX_DEPTH:
        _refuse(path, f"nested deeper than {MAX_DEPTH} levels")
    inner = (*parents, id(value))
    if isinstance(value, list):
        for index, item in enumerate(list.__iter__(value)):
            _explain(item, _join(path, str(index)), depth + 1, inner)
        return
    for name, item in dict.items(value):
        check_field_name(name, path)
        _explain(item, _join(path, name), depth + 1, inner)


def check_field_name(name: Any, path: str) -> None:
    """Raise `NotSerializableError` unless `name` may be the name of a field below `path`."""
    if not isinstance(name, str):
        _refuse(path, f"the field name {name!r} is of type {type(name).__name__}; use a str")
    if not _encodable(name):
        _refuse(path, "a field name holds a lone surrogate, which UTF-8 cannot encode")
    if len(name.encode()) > MAX_FIELD_BYTES:
        _refuse(_join(path, name[:20] + "..."), f"a field name is over {MAX_FIELD_BYTES} bytes")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _refuse(path: str, why: str) -> NoReturn:
    raise NotSerializableError(f"{path or 'the value'}: {why}", path=path)
