"""Operations on the whole object as operations on a part of it."""

from __future__ import annotations

from typing import Any

from ..document import Operation, is_digits
from .served import value_at
from .target import Tokens, pointer_text

CHANGED: Any = type("Changed", (), {"__repr__": lambda self: "CHANGED"})()
"""The part may have another value, which does not follow from the operation."""


def relative(operation: Operation, part: Tokens, document: Any) -> Operation | None:
    """An operation as seen from a part; None if the part stays, or `CHANGED`.

    A pointer does not tell a field from an element, so `document` says which container at the
    path of the part is an object.

    >>> relative({"op": "remove", "path": "/a/b/c"}, ("a",), {})
    {'op': 'remove', 'path': '/b/c'}
    >>> relative({"op": "remove", "path": "/b"}, ("a",), {}) is None
    True
    >>> relative({"op": "remove", "path": "/a"}, ("a", "b"), {})
    CHANGED
    >>> relative({"op": "add", "path": "/l/0", "value": 1}, ("l", "1"), {"l": [1, 2]})
    CHANGED
    """
    if not part:
        return operation
    tokens = _tokens(operation["path"])
    depth = len(tokens)
    if depth > len(part):
        if tokens[: len(part)] != part:
            return None
        return {**operation, "path": pointer_text(tokens[len(part) :])}
    if tokens[: depth - 1] != part[: depth - 1]:
        return None
    if depth and operation["op"] != "replace" and is_digits(part[depth - 1]):
        container = value_at(document, part[: depth - 1])
        if not isinstance(container, dict) and _may_move(tokens[-1], part[depth - 1]):
            return CHANGED  # type: ignore[no-any-return]
    if tokens != part[:depth]:
        return None
    if depth < len(part):
        return CHANGED  # type: ignore[no-any-return]
    return {**operation, "path": ""}


def _may_move(token: str, own: str) -> bool:
    """Whether a change at an element may move the part's, or put another one there."""
    return not is_digits(token) or int(token) <= int(own)


def _tokens(pointer: str) -> Tokens:
    parts = pointer.split("/")[1:]
    if "~" in pointer:
        parts = [part.replace("~1", "/").replace("~0", "~") for part in parts]
    return tuple(parts)
