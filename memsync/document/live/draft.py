"""Drafts, which ``mem.edit()`` hands out: editable views that record what was read and changed.

A draft reads the shared object lazily. Every old value that was read or changed becomes a ``test``
in the resulting patch, so the patch is refused if one of these values has changed. Reading one
field tests that field; iterating, comparing or counting tests the whole container. The cost depends
on what was read and changed, not on the size of the object.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, MutableSequence
from typing import Any

from ..containers import ReadOnlyDict, ReadOnlyList, to_plain
from ..operations import Operation
from ..order import identical
from ..patch.array_diff import array_operations
from ..paths import Parts, pointer_of
from ..traversal import MISSING
from ..values import check_field_name, normalize


class Draft:
    """An editable view of `root` that yields a guarded patch.

    >>> draft = Draft({"cart": {"n": 1}, "other": [0]})
    >>> draft.root["cart"]["n"] += 1
    >>> draft.patch()  # doctest: +NORMALIZE_WHITESPACE
    [{'op': 'test', 'path': '/cart/n', 'value': 1},
     {'op': 'replace', 'path': '/cart/n', 'value': 2}]
    """

    def __init__(self, root: dict[str, Any]) -> None:
        self.root = DraftDict(root)

    def patch(self) -> list[Operation]:
        """Return the tests followed by the changes, as an RFC 6902 list; ``[]`` if nothing changed.

        A guard on a missing value, or on the mere existence of a container, is a ``test`` with
        ``"absent"``; see `check_patch`. Raises `NotSerializableError` for values that cannot be
        shared.
        """
        changes = self.root._changes(())
        return [*self.root._guards(()), *changes] if changes else []

    def guards(self) -> list[Operation]:
        """Return the tests alone: they hold as long as the values that were read are current."""
        return self.root._guards(())


def _snapshot(container: Any) -> Any:
    if isinstance(container, (ReadOnlyDict, ReadOnlyList)):
        return container.copy()  # takes the guard
    return to_plain(container)


def _plain(value: Any) -> Any:
    """Return a plain copy of a value that may be, or contain, a part of a draft."""
    if isinstance(value, DraftDict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, DraftList):
        return [_plain(item) for item in value]
    if type(value) is dict:
        return {name: _plain(item) for name, item in value.items()}
    if type(value) is list:
        return [_plain(item) for item in value]
    return value


def _storable(value: Any, path: Parts) -> Any:
    """Return the value as it will be stored at `path`. Raises `NotSerializableError`."""
    return normalize(_plain(value), ".".join(path), len(path))


class _DraftContainer:
    """The base of drafts of objects and arrays: it records what was read.

    `_seen` holds the first value read at each key; containers are held as drafts. A *covered* draft
    is one whose whole old value is tested, by its own test (`_whole`) or by one above it.
    """

    def __init__(self, base: Any, covered: bool) -> None:
        self._base = base
        self._covered = covered
        self._whole = False
        self._seen: dict[Any, Any] = {}
        self._untested: set[Any] = set()  # keys read while covered: a test above includes them
        self._put: dict[Any, Any] = {}  # values that were set

    def _cover(self) -> None:
        """Test the whole old value from now on, and read from one copy of it."""
        if not self._covered:
            self._base = _snapshot(self._base)
            self._covered = self._whole = True

    def _remember(self, key: Any, value: Any) -> Any:
        if isinstance(value, dict):
            value = DraftDict(value, self._covered)
        elif isinstance(value, list):
            value = DraftList(value, self._covered)
        self._seen[key] = value
        if self._covered:
            self._untested.add(key)
        return value

    def _overwrite(self, key: Any, value: Any) -> None:
        """Set a value; test the whole old one."""
        old = self._seen[key]
        if isinstance(old, _DraftContainer):
            old._cover()
        self._put[key] = _storable(value, (str(key),))

    def _guards(self, path: Parts) -> list[Operation]:
        guards: list[Operation] = []
        if self._whole:
            guards.append({"op": "test", "path": pointer_of(path), "value": to_plain(self._base)})
        for key, old in self._seen.items():
            inner_path = (*path, str(key))
            if isinstance(old, _DraftContainer):
                inner = old._guards(inner_path)
                if not inner and key not in self._untested:
                    inner = [{"op": "test", "path": pointer_of(inner_path), "absent": False}]
                guards += inner
            elif key not in self._untested:
                guards.append(_test(inner_path, old))
        return guards

    def _inner_changes(self, key: Any, path: Parts) -> list[Operation]:
        """Return the operations for a key of the base that has kept its place."""
        old = self._seen[key]
        inner_path = (*path, str(key))
        if key not in self._put:
            return old._changes(inner_path) if isinstance(old, (DraftDict, DraftList)) else []
        new = _storable(self._put[key], inner_path)
        if identical(old._base if isinstance(old, _DraftContainer) else old, new):
            return []
        return [{"op": "replace", "path": pointer_of(inner_path), "value": new}]

    def _rebase(self, base: Any) -> None:
        """Continue to read from `base`, which a test above includes."""
        if isinstance(base, list) == isinstance(self, DraftList) and not self._whole:
            self._base = base
            self._covered = True


def _test(path: Parts, old: Any) -> Operation:
    if old is MISSING:
        return {"op": "test", "path": pointer_of(path), "absent": True}
    return {"op": "test", "path": pointer_of(path), "value": old}


class DraftDict(_DraftContainer, MutableMapping[str, Any]):
    """The draft of an object; it works like a dict."""

    def __init__(self, base: dict[str, Any], covered: bool = False) -> None:
        super().__init__(base, covered)
        self._gone: dict[str, None] = {}  # old fields that were removed, and possibly set again

    def _old_value(self, name: str) -> Any:
        """Return the old value of a field; test it from now on."""
        if name in self._seen:
            return self._seen[name]
        if not isinstance(name, str):
            return MISSING  # field names are always strings
        return self._remember(name, dict.get(self._base, name, MISSING))

    def __getitem__(self, name: str) -> Any:
        if name in self._put:
            return self._put[name]
        value = MISSING if name in self._gone else self._old_value(name)
        if value is MISSING:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        check_field_name(name, "")
        if name in self._put:
            self._put[name] = _storable(value, (name,))
        elif self._old_value(name) is not value or name in self._gone:
            # Ignore a value that is in place already: `draft["list"] += [1]` sets the same list.
            self._overwrite(name, value)

    def __delitem__(self, name: str) -> None:
        if name in self._gone and name not in self._put:
            raise KeyError(name)
        old = self._old_value(name)
        if old is MISSING and name not in self._put:
            raise KeyError(name)
        self._put.pop(name, None)
        if old is not MISSING:
            self._gone[name] = None
            if isinstance(old, _DraftContainer):
                old._cover()

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return the value of a field; set it to `default` first if it is missing."""
        if name not in self:
            self[name] = default
        return self[name]  # the stored, editable value, not the argument

    def _names(self) -> list[str]:
        self._cover()
        kept = [name for name in self._base if name not in self._gone]
        return kept + [name for name in self._put if name in self._gone or name not in self._base]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def __repr__(self) -> str:
        return repr(_plain(self))

    def _changes(self, path: Parts) -> list[Operation]:
        operations: list[Operation] = []
        for name, old in self._seen.items():
            if old is not MISSING and name not in self._gone:
                operations += self._inner_changes(name, path)
        for name in self._gone:
            operations.append({"op": "remove", "path": pointer_of((*path, name))})
        for name, value in self._put.items():
            if name in self._gone or self._seen[name] is MISSING:
                inner_path = (*path, name)
                new = _storable(value, inner_path)
                operations.append({"op": "add", "path": pointer_of(inner_path), "value": new})
        return operations


class DraftList(_DraftContainer, MutableSequence[Any]):
    """The draft of an array; it works like a list.

    Reading, setting or appending a single element tests at most that element. An operation that
    depends on the length or moves elements tests the whole array.
    """

    def __init__(self, base: list[Any], covered: bool = False) -> None:
        super().__init__(base, covered)
        self._items: list[Any] | None = None  # all elements, once the whole array is tested
        self._appended: list[Any] = []

    def _all_items(self) -> list[Any]:
        """Return all current elements; test the whole old array from now on."""
        if self._items is not None:
            return self._items
        self._cover()
        items = []
        for index, value in enumerate(self._base):
            old = self._seen.get(index, MISSING)
            if isinstance(old, _DraftContainer):
                old._rebase(value)
            elif old is MISSING:
                old = self._remember(index, value)
            items.append(self._put.get(index, old))
        self._items = items + self._appended
        return self._items

    def _is_single(self, index: Any) -> bool:
        """Whether `index` names an element that can be read without reading the others."""
        return self._items is None and isinstance(index, int) and 0 <= index < len(self._base)

    def __getitem__(self, index: Any) -> Any:
        if not self._is_single(index):
            return self._all_items()[index]
        if index in self._put:
            return self._put[index]
        if index in self._seen:
            return self._seen[index]
        return self._remember(index, self._base[index])

    def __setitem__(self, index: Any, value: Any) -> None:
        if not self._is_single(index):
            self._all_items()[index] = _storable(value, ())
        elif self[index] is not value:
            self._overwrite(index, value)

    def __delitem__(self, index: Any) -> None:
        del self._all_items()[index]

    def __len__(self) -> int:
        return len(self._all_items())

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._all_items()))

    def insert(self, index: int, value: Any) -> None:
        self._all_items().insert(index, _storable(value, ()))

    def append(self, value: Any) -> None:
        (self._appended if self._items is None else self._items).append(_storable(value, ()))

    def sort(self, *, key: Any = None, reverse: bool = False) -> None:
        """Sort in place, like `list.sort`."""
        self._all_items().sort(key=key, reverse=reverse)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (list, DraftList)) and _plain(self) == _plain(other)

    def __repr__(self) -> str:
        return repr(_plain(self))

    def _changes(self, path: Parts) -> list[Operation]:
        pointer = pointer_of(path)
        if self._items is None:
            operations = [
                operation
                for index in sorted(self._seen)
                for operation in self._inner_changes(index, path)
            ]
            for value in self._appended:
                new = _storable(value, (*path, "-"))
                operations.append({"op": "add", "path": f"{pointer}/-", "value": new})
            return operations
        operations = array_operations(pointer, self._base, self._items, 0, _is_still, _base_of)
        whole = {id(operation.get("value")) for operation in operations}
        for operation in operations:
            if "value" in operation:
                operation["value"] = _storable(operation["value"], (*path, "-"))
        for index, item in enumerate(self._items):
            if isinstance(item, (DraftDict, DraftList)) and id(item) not in whole:
                operations += item._changes((*path, str(index)))
        return operations


def _base_of(item: Any) -> Any:
    return item._base if isinstance(item, _DraftContainer) else item


def _is_still(old: Any, item: Any) -> bool:
    return item._base is old if isinstance(item, _DraftContainer) else identical(old, item)
