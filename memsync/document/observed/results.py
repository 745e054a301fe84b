"""Detached copies of what an observed function returns, whatever kinds of objects hold its parts.

A result is compared with the next one, so nothing in it may change: neither by later entries, as
the containers of the view do, nor by the callback, which gets a copy of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from ..containers import ReadOnlyDict, ReadOnlyList

_ATOMS = frozenset({str, int, float, bool, type(None), bytes, complex})


class ResultCopy:
    """One copy: in its `value`, containers of the view are plain dicts and lists.

    >>> from collections import defaultdict
    >>> ResultCopy(defaultdict(list, a=ReadOnlyList([1]))).value
    defaultdict(<class 'list'>, {'a': [1]})
    """

    def __init__(self, result: Any) -> None:
        self.is_detached = True
        """Whether all of it could be copied; what could not is in `value` itself."""
        self.value: Any = self._copy(result)

    def _copy(self, value: Any) -> Any:
        kind = type(value)
        if kind in _ATOMS:
            return value
        if isinstance(value, (ReadOnlyDict, ReadOnlyList)):
            return value.copy()
        convert = _CONVERTERS.get(kind)
        if convert is not None:
            return convert(self._copy, value)
        if isinstance(value, tuple) and hasattr(kind, "_make"):  # a named tuple
            return kind._make(map(self._copy, value))
        equals: object = kind.__eq__
        if equals is object.__eq__:
            return value  # equal to nothing but itself, so a copy would never be the same
        try:
            return deepcopy(value)
        except Exception:  # of the object itself
            self.is_detached = False
            return value


Convert = Callable[[Any], Any]


def _copy_dict(convert: Convert, value: dict[Any, Any]) -> dict[Any, Any]:
    return {key: convert(item) for key, item in value.items()}


_CONVERTERS: dict[type, Callable[[Convert, Any], Any]] = {
    dict: _copy_dict,
    list: lambda convert, value: [convert(item) for item in value],
    tuple: lambda convert, value: tuple(map(convert, value)),
    set: lambda convert, value: set(map(convert, value)),
    frozenset: lambda convert, value: frozenset(map(convert, value)),
    # Views of a dict cannot be copied as such.
    type({}.keys()): lambda convert, value: dict.fromkeys(value).keys(),
    type({}.items()): lambda convert, value: _copy_dict(convert, dict(value)).items(),
    type({}.values()): lambda convert, value: [convert(item) for item in value],
}
