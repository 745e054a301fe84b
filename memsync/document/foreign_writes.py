"""Writes of other code to the containers behind ``mem.data``, past their methods.

Only a change of the number of items is noticed (see `containers`). What is noticed raises
`ForeignWriteError`: the copy of the object cannot be trusted any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from ..lasting import lasting
from .containers import ReadOnlyDict, ReadOnlyList, containers_in, is_touched
from .failures import ForeignValueError
from .paths import pointer_of
from .values import MAX_DEPTH, detached, field_name

MANY = 1000
_CONTAINERS = frozenset({dict, list, ReadOnlyDict, ReadOnlyList})


@lasting
class ForeignWriteError(Exception):
    """Other code has added items to a live container, or has removed some."""


def check_untouched(container: Any) -> None:
    """Raise `ForeignWriteError` if other code has changed this container; look at no other."""
    if is_touched(container):
        raise ForeignWriteError


def check_all_untouched(document: Any) -> None:
    """Raise `ForeignWriteError` if other code has changed a container in `document`."""
    check_untouched(document)
    for _, inner in _inside(document):
        check_all_untouched(inner)


def check_first_untouched(document: Any) -> None:
    """Raise `ForeignWriteError` if other code has changed one of the first containers.

    That is a container among the first `MANY` values, outer ones first: all of a small document,
    and of a large one what costs nothing.
    """
    left, queue = MANY, deque([document])
    while queue and left > 0:
        container = queue.popleft()
        check_untouched(container)
        left -= len(container)
        if left > 0:
            queue.extend(inner for _, inner in _inside(container))


def foreign_places(document: Any, place: tuple[str, ...] = ()) -> list[str]:
    """The places (RFC 6901 pointers) of the containers that other code has changed."""
    found = [pointer_of(place)] if is_touched(document) else []
    if not found and len(place) < MAX_DEPTH:
        for key, inner in _inside(document):
            found += foreign_places(inner, (*place, str(key)))
    return found


def _inside(container: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(container, dict):
        yield from containers_in(container).items()
    else:
        for index, item in enumerate(list.__iter__(container)):
            if type(item) in _CONTAINERS:
                yield index, item


def salvage(document: dict[str, Any]) -> dict[str, Any]:
    """A plain copy of what other code has left of a document, without what is not JSON.

    >>> salvage({"a": [1, {2}], "b": len})
    {'a': [1]}
    """
    kept: dict[str, Any] = _salvaged(document, ())
    return kept


def _salvaged(value: Any, above: tuple[int, ...]) -> Any:
    """Raises `ForeignValueError` for what is not JSON, and for a container inside itself."""
    if not isinstance(value, (dict, list)):
        return detached(value)
    if id(value) in above:
        raise ForeignValueError
    inside = (*above, id(value))
    if isinstance(value, dict):
        fields = {}
        for name, item in dict.items(value):
            try:
                fields[field_name(name)] = _salvaged(item, inside)
            except ForeignValueError:
                continue
        return fields
    items = []
    for item in list.__iter__(value):
        try:
            items.append(_salvaged(item, inside))
        except ForeignValueError:
            continue
    return items
