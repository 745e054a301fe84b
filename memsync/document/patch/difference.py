"""`difference`: the RFC 6902 operations that turn one value into another."""

from __future__ import annotations

from typing import Any

from ..operations import Operation
from ..order import identical
from .array_diff import array_operations


def difference(old: Any, new: Any, pointer: str = "") -> list[Operation]:
    """Return operations that turn `old` into `new`, the order of fields included.

    Fields are compared one by one, and so are the elements of arrays of one length. In other arrays
    an element that has changed inside is replaced as a whole.

    >>> difference({"a": 1, "b": [1, 2]}, {"b": [1, 3], "c": 0})  # doctest: +NORMALIZE_WHITESPACE
    [{'op': 'remove', 'path': '/a'},
     {'op': 'replace', 'path': '/b/1', 'value': 3},
     {'op': 'add', 'path': '/c', 'value': 0}]
    >>> difference(None, [1])
    [{'op': 'replace', 'path': '', 'value': [1]}]
    """
    if identical(old, new):
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        return _of_objects(old, new, pointer)
    if isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            return array_operations(pointer, old, new)
        return [
            operation
            for index, (before, after) in enumerate(zip(old, new, strict=True))
            for operation in difference(before, after, f"{pointer}/{index}")
        ]
    return [{"op": "replace", "path": pointer, "value": new}]


def _of_objects(old: dict[str, Any], new: dict[str, Any], pointer: str) -> list[Operation]:
    kept = [name for name in old if name in new]
    names = list(new)
    stays = 0  # the fields before this position are in place
    while stays < len(kept) and kept[stays] == names[stays]:
        stays += 1
    in_place = set(kept[:stays])
    places = {name: f"{pointer}/{_token(name)}" for name in (*old, *new)}
    operations: list[Operation] = [
        {"op": "remove", "path": places[name]} for name in old if name not in in_place
    ]
    for name in kept[:stays]:
        operations += difference(old[name], new[name], places[name])
    for name in names[stays:]:
        operations.append({"op": "add", "path": places[name], "value": new[name]})
    return operations


def _token(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
