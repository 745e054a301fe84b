"""The JSON text of a document as it is at one moment, made in slices while the document changes.

A slice takes about a millisecond, so writers hardly notice that a large document is encoded. What
an operation is about to change, and no slice has encoded yet, is encoded just before: see `before`.
Nothing is copied but the references in the containers on the way, so this works on places (keys and
indexes), never on the identity of containers: the confirmed document may replace a container by an
equal one at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from .containers import shallow_copy
from .encoding import encoded_json
from .operations import Operation
from .paths import pointer_index, split

SLICE = 64 * 1024
"""About how many bytes of text a slice has."""

_ITEM = 8  # bytes that an item counts at least
_END = object()


class _Part:
    """A container that is encoded in more than one slice.

    `content` holds what no slice has encoded yet, with the values as they were; a container in it
    only marks its place, for its content may have changed since it was encoded (`done`) or divided
    (`parts`).
    """

    __slots__ = (
        *("at", "content", "done", "is_dict", "is_first", "is_safe", "keys", "near"),
        *("parts", "slots"),
    )

    def __init__(self, container: Any) -> None:
        self.is_dict = isinstance(container, dict)
        self.content: Any = shallow_copy(container) if self.is_dict else list.copy(container)
        keys: Any = self.content.copy() if self.is_dict else range(len(self.content))
        self.keys: Iterator[Any] = iter(keys)
        self.at: Any = next(self.keys, _END)  # the next key to encode
        self.done: dict[Any, bytearray] = {}
        self.parts: dict[Any, _Part] = {}
        self.is_first = True  # no item is encoded yet
        self.is_safe = False  # nothing of it must be read from the document any more
        self.slots: list[int | None] | None = None  # of an array that has moved: old index by new
        self.near = 0  # no element that is not encoded yet is now at a lower index

    def advance(self) -> None:
        """The item at `at` is encoded."""
        if self.is_dict:
            del self.content[self.at]
        else:
            self.content[self.at] = None
        self.at = next(self.keys, _END)

    def key(self, token: str) -> Any:
        """The key, in this part, of what is now at a token; None if it is new or was encoded."""
        if self.is_dict:
            return token if token in self.content else None
        index = pointer_index(token)
        if index is None:
            return None
        if self.slots is not None:
            index = self.slots[index] if index < len(self.slots) else None
        if index is None or self.at is _END or not self.at <= index < len(self.content):
            return None
        return index


class SlicedText:
    """See the module. The caller holds the guard of `document` in all calls."""

    def __init__(self, document: dict[str, Any], size: int = SLICE) -> None:
        self._size = size
        self._root = _Part(document)
        # The parts that are being encoded, outermost first, each with its key in the one before.
        self._open: list[tuple[Any, _Part]] = [(None, self._root)]
        self._text = bytearray(b"{")
        # While an operation of several is examined: the slots as the document still has them.
        self._old_slots: dict[int, tuple[list[int | None], int]] = {}

    def slice(self, document: dict[str, Any]) -> bytearray | None:
        """The next piece of the text; None after the last one. `document` as it is now."""
        if not self._open:
            return None
        left = self._size
        while self._open and left > 0:
            left = self._encode_some(document, left)
        text, self._text = self._text, bytearray()
        return text

    def _encode_some(self, document: dict[str, Any], left: int) -> int:
        """Encode items of the innermost part, up to one that becomes a part; returns what is left.

        Items are collected, because encoding many at once costs least.
        """
        part = self._open[-1][1]
        container = self._now(document)
        items: Any = {} if part.is_dict else []
        inner = None
        while part.at is not _END and left > 0 and inner is None:
            key = part.at
            value = part.content[key]
            if isinstance(value, (dict, list)):
                if key in part.parts:
                    inner = part.parts.pop(key)
                    break
                if key in part.done:
                    value = part.done.pop(key)
                    left -= len(value)
                    value = msgspec.Raw(value)
                else:
                    index = self._index(part, key)
                    if part.slots is not None:
                        part.near = index
                    value = container[index]
                    rest = weigh(value, left)
                    if rest < 0 and weigh(value, self._size) < 0:
                        inner = _Part(value)
                        break
                    left = rest
            else:
                left -= _ITEM + (len(value) if type(value) is str else 0)
            if part.is_dict:
                items[key] = value
            else:
                items.append(value)
            part.advance()
        self._append(part, items)
        if inner is not None:
            self._enter(part, inner)
        elif part.at is _END:
            self._text += b"}" if part.is_dict else b"]"
            self._open.pop()
            if self._open:
                self._open[-1][1].advance()
        return left - 1

    def _append(self, part: _Part, items: Any) -> None:
        if items:
            if not part.is_first:
                self._text += b","
            part.is_first = False
            self._text += encoded_json(items)[1:-1]

    def _enter(self, part: _Part, inner: _Part) -> None:
        if not part.is_first:
            self._text += b","
        part.is_first = False
        if part.is_dict:
            self._text += encoded_json(part.at) + b":"
        self._text += b"{" if inner.is_dict else b"["
        self._open.append((part.at, inner))

    def _now(self, document: Any) -> Any:
        """The container of the innermost open part; None if nothing must be read from it."""
        container, outer = document, self._root
        for key, part in self._open[1:]:
            if part.is_safe:
                return None
            container = container[self._index(outer, key)]
            outer = part
        return None if outer.is_safe else container

    def _index(self, part: _Part, key: Any) -> Any:
        """The key or index in the document of what is at a key of a part."""
        if part.slots is None:
            return key
        slots, near = self._old_slots.get(id(part), (part.slots, part.near))
        return slots.index(key, near)

    # -- changes ---------------------------------------------------------------------------------

    def before(self, document: dict[str, Any], operations: list[Operation]) -> None:
        """Compiled operations are about to change the document."""
        if not self._open:
            return
        try:
            for operation in operations:
                parents, last = split(operation["path"])
                if last is None:
                    self._save_all(self._root, document)
                else:
                    self._before_one(document, operation["op"], parents, last)
        finally:
            self._old_slots.clear()

    def _before_one(self, container: Any, kind: str, parents: tuple[str, ...], last: str) -> None:
        part = self._root
        for token in parents:
            if part.is_safe or (key := part.key(token)) is None or key in part.done:
                return
            inner = self._part_at(part, key)
            value = (
                container[self._index(part, key)] if inner is None or not inner.is_safe else None
            )
            if inner is None:
                if not isinstance(value, (dict, list)) or weigh(value, self._size) >= 0:
                    part.done[key] = encoded_json(value)
                    return
                inner = part.parts[key] = _Part(value)
            part, container = inner, value
        if part.is_safe:
            return
        key = part.key(last)
        if key is not None and (part.is_dict or kind != "add"):
            self._save(part, key, container)
        if not part.is_dict and kind != "replace":
            self._move(part, kind, last)

    def _part_at(self, part: _Part, key: Any) -> _Part | None:
        """The part at a key, also if it is being encoded."""
        for (open_key, inner), (_, outer) in zip(self._open[1:], self._open, strict=False):
            if outer is part and open_key == key:
                return inner
        return part.parts.get(key)

    def _save(self, part: _Part, key: Any, container: Any) -> None:
        """Encode what is at a key, before it is replaced, removed, or hidden by a safe part."""
        if not isinstance(part.content[key], (dict, list)) or key in part.done:
            return
        inner = self._part_at(part, key)
        if inner is None:
            part.done[key] = encoded_json(container[self._index(part, key)])
        elif not inner.is_safe:
            self._save_all(inner, container[self._index(part, key)])

    def _save_all(self, part: _Part, container: Any) -> None:
        """Encode all that no slice has encoded yet of a part."""
        if part.is_safe:
            return
        if part.at is not _END:
            keys = list(part.content) if part.is_dict else range(part.at, len(part.content))
            for key in keys:
                self._save(part, key, container)
        part.is_safe = True

    def _move(self, part: _Part, kind: str, token: str) -> None:
        """Elements of an array move: note where those that are not encoded yet will be."""
        slots, index = part.slots, pointer_index(token)
        length = len(part.content) if slots is None else len(slots)
        if index is None or index >= length:
            return  # behind all that count
        if slots is None:
            slots = part.slots = list(range(len(part.content)))
            part.near = 0 if part.at is _END else part.at
        self._old_slots.setdefault(id(part), (slots.copy(), part.near))
        if kind == "add":
            slots.insert(index, None)
        else:
            del slots[index]
        if index < part.near:
            part.near += 1 if kind == "add" else -1


def weigh(value: Any, left: int) -> int:
    """What is left of a number of bytes after the text of a value, roughly; it may be negative."""
    if isinstance(value, dict):
        left -= _ITEM * len(value)
        for item in dict.values(value):
            if left < 0:
                break
            if type(item) is str:
                left -= len(item)
            elif isinstance(item, (dict, list)):
                left = weigh(item, left)
    elif isinstance(value, list):
        left -= _ITEM * len(value)
        for item in list.__iter__(value):
            if left < 0:
                break
            if type(item) is str:
                left -= len(item)
            elif isinstance(item, (dict, list)):
                left = weigh(item, left)
    elif type(value) is str:
        left -= len(value)
    return left
