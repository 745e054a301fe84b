"""An overlay: a document plus uncommitted changes, and the patch that would apply them.

The document itself is never changed and rolled back. Operations are tried on an overlay, which
holds only the containers they change, and only the net difference is passed on. A `Shadow` stands
for a changed container of the document; unchanged values are read from the original.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from ...lasting import lasting
from ..operations import Operation
from ..order import identical
from ..paths import pointer_index, pointer_of
from ..sizes import OPERATION_BYTES, estimated_size
from ..traversal import MISSING
from ..values import detached, field_name
from .array_diff import array_operations


@lasting
class ShadowObject:
    """A changed object. A field that is removed and set again moves to the end, as in a dict."""

    __slots__ = ("added", "base", "changed", "removed")

    def __init__(self, base: dict[str, Any]) -> None:
        self.base = base
        self.changed: dict[str, Any] = {}  # fields of the base, in their place
        self.removed: dict[str, None] = {}  # fields of the base that have lost their place
        self.added: dict[str, Any] = {}  # after the fields of the base, in order

    def get(self, name: str, default: Any = MISSING) -> Any:
        if name in self.added:
            return self.added[name]
        if name in self.removed:
            return default
        value = self.changed.get(name, MISSING)
        return dict.get(self.base, name, default) if value is MISSING else value

    def put(self, name: str, value: Any) -> None:
        kept = name not in self.added and name in self.base and name not in self.removed
        (self.changed if kept else self.added)[name] = value

    def remove(self, name: str) -> None:
        if name in self.added:
            del self.added[name]
            return
        self.changed.pop(name, None)
        self.removed[name] = None

    def plain(self) -> dict[str, Any]:
        """Return the changed object, detached."""
        result = {
            field_name(name): plain(self.changed.get(name, value))
            for name, value in dict.items(self.base)
            if name not in self.removed
        }
        result.update((name, plain(value)) for name, value in self.added.items())
        return result

    def operations(self, path: tuple[str, ...]) -> list[Operation]:
        """Return operations that turn the base into this; fields that stay in place come first."""
        self._restore_order()
        operations: list[Operation] = []
        for name, value in self.changed.items():
            operations += value_operations((*path, name), dict.get(self.base, name), value)
        for name in self.removed:
            operations.append({"op": "remove", "path": pointer_of((*path, name))})
        for name, value in self.added.items():
            operations.append(
                {"op": "add", "path": pointer_of((*path, name)), "value": plain(value)}
            )
        return operations

    def inverse(self, path: tuple[str, ...]) -> list[Operation]:
        """Return operations that turn this back into the base, including the order of fields."""
        self._restore_order()
        moved = self._out_of_place()
        if 2 * len(moved) > len(self.base) and self._is_short_without(moved):
            # More fields would be removed and added than stay: one replacement is shorter.
            pointer = pointer_of(path)
            return [{"op": "replace", "path": pointer, "value": detached(self.base)}]
        gone = [*self.added, *(name for name in moved if name not in self.removed)]
        operations: list[Operation] = [
            {"op": "remove", "path": pointer_of((*path, name))} for name in gone
        ]
        for name, value in self.changed.items():
            if name not in moved:
                operations += value_inverse((*path, name), dict.get(self.base, name), value)
        for name in moved:
            value = detached(dict.get(self.base, name))
            operations.append({"op": "add", "path": pointer_of((*path, name)), "value": value})
        return operations

    def _is_short_without(self, moved: dict[str, None]) -> bool:
        staying = (item for name, item in dict.items(self.base) if name not in moved)
        limit = 2 * OPERATION_BYTES * len(moved)
        return estimated_size(staying, limit) < limit

    def _restore_order(self) -> None:
        """Treat trailing fields that were removed and set again in the same order as unmoved."""
        restored = [name for name in self.added if name in self.removed]
        if not restored or restored != list(self.added)[: len(restored)]:
            return
        # Only as many names as needed: an object may have a million.
        if restored[::-1] == list(islice(dict.__reversed__(self.base), len(restored))):
            for name in restored:
                self.changed[name] = self.added.pop(name)
                del self.removed[name]

    def _out_of_place(self) -> dict[str, None]:
        """Return the fields of the base from the first removed one on, which must be set again."""
        if not self.removed:
            return {}
        names = list(dict.keys(self.base))
        first = min(names.index(name) for name in self.removed)
        return dict.fromkeys(map(field_name, names[first:]))


@lasting
class ShadowArray:
    """A changed array. Its first change of length makes a shallow copy of the original."""

    __slots__ = ("_changed", "_items", "_start", "_tail", "base")

    def __init__(self, base: list[Any]) -> None:
        self.base = base
        self._items: list[Any] | None = None
        self._changed: dict[int, Any] = {}  # by index, until there is a copy
        self._start = len(base)  # elements before it, and the last _tail elements, have not moved
        self._tail = len(base)

    def __len__(self) -> int:
        return len(self.base) if self._items is None else len(self._items)

    def get(self, index: int) -> Any:
        if self._items is not None:
            return self._items[index]
        return self._changed[index] if index in self._changed else self.base[index]

    def put(self, index: int, value: Any) -> None:
        if self._items is None:
            self._changed[index] = value
            return
        self._note(index, len(self._items) - index - 1)
        self._items[index] = value

    def insert(self, index: int, value: Any) -> None:
        items = self._copy()
        self._note(index, len(items) - index)
        items.insert(index, value)

    def remove(self, index: int) -> None:
        items = self._copy()
        self._note(index, len(items) - index - 1)
        del items[index]

    def _copy(self) -> list[Any]:
        if self._items is None:
            self._items = list.copy(self.base)
            for index, value in self._changed.items():
                self._note(index, len(self._items) - index - 1)
                self._items[index] = value
        return self._items

    def _note(self, before: int, behind: int) -> None:
        self._start = min(self._start, before)
        self._tail = min(self._tail, behind)

    def plain(self) -> list[Any]:
        """Return the changed array, detached."""
        if self._items is not None:
            return [plain(item) for item in self._items]
        return [
            plain(self._changed.get(index, item))
            for index, item in enumerate(list.__iter__(self.base))
        ]

    def operations(self, path: tuple[str, ...]) -> list[Operation]:
        """Return operations that turn the base into this."""
        if self._items is None:
            return [
                operation
                for index, value in sorted(self._changed.items())
                for operation in value_operations((*path, str(index)), self.base[index], value)
            ]
        old, new = self._changed_range()
        operations = array_operations(pointer_of(path), old, new, self._start, _unmoved, _base_of)
        # An element that is written as a whole includes the changes inside it.
        whole = {id(operation.get("value")) for operation in operations}
        for index, item in enumerate(new):
            if is_shadow(item) and id(item) not in whole:
                operations += item.operations((*path, str(self._start + index)))
        return [_detached(operation) for operation in operations]

    def inverse(self, path: tuple[str, ...]) -> list[Operation]:
        """Return operations that turn this back into the base."""
        if self._items is None:
            return [
                operation
                for index, value in sorted(self._changed.items())
                for operation in value_inverse((*path, str(index)), self.base[index], value)
            ]
        old, new = self._changed_range()
        operations: list[Operation] = []
        for index, item in enumerate(new):
            if is_shadow(item) and any(item.base is other for other in old):
                operations += item.inverse((*path, str(self._start + index)))
        operations += array_operations(
            pointer_of(path),
            new,
            old,
            self._start,
            lambda item, base: _unmoved(base, item),
            _base_of,
        )
        return [_detached(operation) for operation in operations]

    def _changed_range(self) -> tuple[list[Any], list[Any]]:
        """Return the elements between the unchanged ends, in the base and in the changed array."""
        items = self._copy()
        # If elements were inserted and removed at the same index, the unchanged ends would overlap.
        tail = min(self._tail, len(self.base) - self._start, len(items) - self._start)
        old = list.__getitem__(self.base, slice(self._start, len(self.base) - tail))
        return old, items[self._start : len(items) - tail]


Shadow = ShadowObject | ShadowArray


def is_shadow(value: Any) -> bool:
    return type(value) is ShadowObject or type(value) is ShadowArray


def is_object(node: Any) -> bool:
    """Whether a value is an object, changed or not."""
    return isinstance(node, (dict, ShadowObject))


def is_array(node: Any) -> bool:
    """Whether a value is an array, changed or not."""
    return isinstance(node, (list, ShadowArray))


def child(node: Any, token: str) -> Any:
    """Return the value that a pointer token names in `node`, or `MISSING`."""
    if isinstance(node, ShadowObject):
        return node.get(token)
    if isinstance(node, dict):
        return dict.get(node, token, MISSING)
    if isinstance(node, (list, ShadowArray)):
        index = pointer_index(token)
        if index is not None and index < len(node):
            return node[index] if isinstance(node, list) else node.get(index)
    return MISSING


def _unmoved(base: Any, item: Any) -> bool:
    """Whether an item is still the same element of the base, possibly changed inside."""
    if is_shadow(item):
        return item.base is base
    return base is item or identical(base, item)


def _base_of(item: Any) -> Any:
    return item.base if is_shadow(item) else item


def _detached(operation: Operation) -> Operation:
    if "value" in operation:
        operation["value"] = plain(operation["value"])
    return operation


def plain(value: Any) -> Any:
    """Return a detached copy of a value that may contain shadows."""
    return value.plain() if is_shadow(value) else detached(value)


def value_operations(path: tuple[str, ...], old: Any, new: Any) -> list[Operation]:
    """Return operations that turn the value at `path` from `old` into `new`."""
    if new is old:  # untouched: what may be the whole document is not copied
        return []
    if is_shadow(new) and new.base is old:
        operations: list[Operation] = new.operations(path)
        return operations
    value = plain(new)
    if identical(old, value):
        return []
    return [{"op": "replace", "path": pointer_of(path), "value": value}]


def value_inverse(path: tuple[str, ...], old: Any, new: Any) -> list[Operation]:
    """Return operations that turn the value at `path` from `new` back into `old`."""
    if new is old:
        return []
    if is_shadow(new) and new.base is old:
        operations: list[Operation] = new.inverse(path)
        return operations
    if identical(old, plain(new)):
        return []
    return [{"op": "replace", "path": pointer_of(path), "value": detached(old)}]
