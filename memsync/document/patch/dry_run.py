"""A dry run of RFC 6902 operations on an overlay, reduced to the net difference.

A dry run resolves ``move``, ``copy`` and ``test``. The result contains only ``add``, ``remove`` and
``replace``, and replaying it cannot fail.
"""

from __future__ import annotations

from typing import Any

from ...errors import ConflictError, UpdateError
from ..failures import brief, patch_failure
from ..operations import Operation
from ..order import json_equal
from ..paths import Parts, parse_pointer, pointer_index, pointer_of
from ..traversal import MISSING
from ..values import normalize
from .overlay import (
    Shadow,
    ShadowArray,
    ShadowObject,
    child,
    is_array,
    is_shadow,
    plain,
    value_inverse,
    value_operations,
)

# The maximum number of values that the copy operations of one patch may duplicate.
MAX_COPIED = 1_000_000


class DryRun:
    """A document with operations tried on it; the document itself does not change."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.root = document
        self.copied = 0

    def operations(self) -> list[Operation]:
        """Return the net difference, as operations that share no values with the document."""
        return value_operations((), self.document, self.root)

    def inverse(self) -> list[Operation]:
        """Return operations that lead from the result back to the document, including key order."""
        return value_inverse((), self.document, self.root)

    def apply(self, operation: Operation) -> None:
        """Try one operation. Raises `UpdateError`, or `ConflictError` for a ``test`` that fails."""
        tokens = parse_pointer(operation["path"])
        kind = operation["op"]
        if kind == "add":
            self._add(tokens, operation["value"])
        elif kind == "replace":
            self._replace(tokens, operation["value"])
        elif kind == "remove":
            self._remove(tokens)
        elif kind == "test":
            self._test(tokens, operation)
        elif kind == "copy":
            self._copy(parse_pointer(operation["from"]), tokens)
        else:
            self._move(parse_pointer(operation["from"]), tokens)

    def lookup(self, tokens: Parts) -> Any:
        """Return the value at a pointer, which may be a shadow, or `MISSING`."""
        node = self.root
        for token in tokens:
            node = child(node, token)
        return node

    def _existing(self, tokens: Parts) -> Any:
        value = self.lookup(tokens)
        if value is MISSING:
            raise _missing(tokens)
        return value

    def _shadow(self, tokens: Parts) -> Shadow:
        """Return the container at a pointer as a shadow; shadow the containers above it as well."""
        node = self.root = _shadowed(self.root)
        for token in tokens:
            value = child(node, token)
            inner = _shadowed(value)
            if inner is not value:
                node.put(_key(node, token), inner)
            node = inner
        if not is_shadow(node):
            raise _missing(tokens) if node is MISSING else _no_container(tokens)
        container: Shadow = node
        return container

    def _add(self, tokens: Parts, value: Any) -> None:
        if not tokens:
            self.root = value
            return
        parent, last = self._shadow(tokens[:-1]), tokens[-1]
        if isinstance(parent, ShadowObject):
            parent.put(last, value)
            return
        index = len(parent) if last == "-" else pointer_index(last)
        if index is None or index > len(parent):
            raise _no_index(tokens, len(parent))
        parent.insert(index, value)

    def _replace(self, tokens: Parts, value: Any) -> None:
        self._existing(tokens)
        if not tokens:
            self.root = value
            return
        parent = self._shadow(tokens[:-1])
        parent.put(_key(parent, tokens[-1]), value)

    def _remove(self, tokens: Parts) -> None:
        if not tokens:
            raise patch_failure("bad_value", "the whole document cannot be removed", "")
        self._existing(tokens)
        parent = self._shadow(tokens[:-1])
        parent.remove(_key(parent, tokens[-1]))

    def _copy(self, source: Parts, target: Parts) -> None:
        value = plain(self._existing(source))
        self.copied += _size(value)
        if self.copied > MAX_COPIED:
            # A few dozen copies of the document into itself would exhaust any memory.
            path = pointer_of(target)
            raise patch_failure("bad_value", f"more than {MAX_COPIED} values are copied", path)
        self._add(target, normalize(value, pointer_of(target), len(target)))

    def _move(self, source: Parts, target: Parts) -> None:
        value = plain(self._existing(source))
        if source == target:
            return
        if source == target[: len(source)]:
            raise patch_failure(
                "bad_value",
                f"{pointer_of(source)!r} cannot be moved into itself",
                pointer_of(target),
            )
        self._remove(source)
        self._add(target, normalize(value, pointer_of(target), len(target)))

    def _test(self, tokens: Parts, operation: Operation) -> None:
        value = self.lookup(tokens)
        if not _holds(value, operation):
            actual = None if value is MISSING else plain(value)
            path = pointer_of(tokens)
            state = "there is nothing" if value is MISSING else f"there is {brief(actual)}"
            raise ConflictError(
                f"the test of {_named(path)} failed: {state}", path=path, value=actual
            )


def _holds(value: Any, test: Operation) -> bool:
    """Whether a ``test`` holds for a value. Copies it only if it must be compared."""
    if "absent" in test:
        return bool(test["absent"] is (value is MISSING))
    if "type" in test:
        return is_array(value) if test["type"] == "array" else isinstance(value, _OBJECTS)
    return value is not MISSING and json_equal(plain(value), test["value"])


_OBJECTS = (dict, ShadowObject)


def _size(value: Any) -> int:
    """Return the number of values that a value consists of, itself included."""
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_size, value))
    return 1


def _shadowed(value: Any) -> Any:
    if isinstance(value, dict):
        return ShadowObject(value)
    if isinstance(value, list):
        return ShadowArray(value)
    return value


def _key(container: Any, token: str) -> Any:
    return token if isinstance(container, ShadowObject) else int(token)


def _named(path: str) -> str:
    return repr(path) if path else "the document"


def _missing(tokens: Parts) -> UpdateError:
    path = pointer_of(tokens)
    return patch_failure("path_not_viable", f"there is nothing at {_named(path)}", path)


def _no_container(tokens: Parts) -> UpdateError:
    path = pointer_of(tokens)
    return patch_failure("path_not_viable", f"{_named(path)} is no object or array", path)


def _no_index(tokens: Parts, length: int) -> UpdateError:
    path = pointer_of(tokens)
    return patch_failure(
        "path_not_viable", f"{path!r} is no index of an array of {length} elements", path
    )
