"""The JSON text of a document as it is at one moment, made in slices while the document changes.

A slice takes about a millisecond, so writers hardly notice that a large document is encoded. What
an operation is about to change is noted just before, unless a slice has encoded it: see `before`.
Nothing is copied but the names of large dicts. A million take 20 ms, a copy of the dict takes up to
a second. So this works on places (keys and indexes), never on the identity of containers: the
confirmed document may replace a container by an equal one at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from .encoding import encoded_json
from .operations import Operation
from .paths import pointer_index, split

SLICE = 64 * 1024
"""About how many bytes of text a slice has."""

_ITEM = 32  # bytes that an item counts at least: a short one takes as long as so much text
_ABSENT = object()


class _Part:
    """A container that is encoded in more than one slice.

    What was there is at `keys`. What has changed since is in `old`, or, if it was a container, in
    `done` (encoded) or `parts` (divided). All else is read from the document when it is encoded.
    Which keys of a dict are encoded is not known, so some are noted in vain; `finished` has the
    large ones, for which that would take long.
    """

    __slots__ = (
        *("at", "done", "finished", "is_aligned", "is_dict", "is_first", "is_safe", "keys"),
        *("near", "old", "parts", "slots", "values"),
    )

    def __init__(self, container: Any) -> None:
        self.is_dict = isinstance(container, dict)
        self.keys: Sequence[Any] = (
            list(dict.keys(container)) if self.is_dict else range(len(container))
        )
        self.at = 0  # where in `keys` the next one to encode is
        self.old: dict[Any, Any] = {}  # `_ABSENT` for a new key of a dict
        self.done: dict[Any, bytearray] = {}
        self.parts: dict[Any, _Part] = {}
        self.finished: set[Any] = set()
        self.is_first = True  # no item is encoded yet
        self.is_safe = False  # nothing of it must be read from the document any more
        self.values: list[Any] | None = None  # of a safe part, by their places in `keys`
        self.is_aligned = True  # the keys and their order are still the same
        self.slots: list[int | None] | None = None  # of an array that has moved: old index by new
        self.near = 0  # no element that is not encoded yet is now at a lower index

    @property
    def is_over(self) -> bool:
        """Whether all is encoded."""
        return self.at == len(self.keys)

    def key(self, token: str) -> Any:
        """The key, in this part, of what is now at a token; None if it is new or was encoded."""
        key: Any = token
        if not self.is_dict:
            index = pointer_index(token)
            if index is not None and self.slots is not None:
                index = self.slots[index] if index < len(self.slots) else None
            if index is None or not self.at <= index < len(self.keys):
                return None
            key = index
        return None if key in self.old or key in self.finished else key


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
        self._has_several = False

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
        keys, at, end, old, done = part.keys, part.at, len(part.keys), part.old, part.done
        names: Any = []
        values: Any = []
        inner = None
        while at < end and left > 0:
            key = keys[at]
            if key in done:
                encoded = done.pop(key)
                left -= len(encoded)
                value = msgspec.Raw(encoded)
            elif key in part.parts:
                inner = part.parts.pop(key)
                break
            elif key in old:
                value = old[key]
                left -= _ITEM + (len(value) if type(value) is str else 0)
            elif part.values is not None:
                value = part.values[at]
                left -= _ITEM + (len(value) if type(value) is str else 0)
            else:
                index = key
                if part.slots is not None:
                    part.near = index = self._index(part, key)
                value = container[index]
                if isinstance(value, (dict, list)):
                    rest = weigh(value, left)
                    if rest < 0 and weigh(value, self._size) < 0:
                        inner = _Part(value)
                        break
                    left = rest
                else:
                    left -= _ITEM + (len(value) if type(value) is str else 0)
            names.append(key)
            values.append(value)
            at += 1
        part.at = at
        self._append(part, dict(zip(names, values, strict=True)) if part.is_dict else values)
        if inner is not None:
            self._enter(part, inner)
        elif part.is_over:
            self._text += b"}" if part.is_dict else b"]"
            key = self._open.pop()[0]
            if self._open:
                outer = self._open[-1][1]
                outer.finished.add(key)
                outer.at += 1
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
        key = part.keys[part.at]
        if part.is_dict:
            self._text += encoded_json(key) + b":"
        self._text += b"{" if inner.is_dict else b"["
        self._open.append((key, inner))

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
        self._has_several = len(operations) > 1
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
        if part.is_dict:
            if last not in container:
                part.is_aligned = False
                part.old.setdefault(last, _ABSENT)
                return
            part.is_aligned &= kind != "remove"
        key = part.key(last)
        if key is not None and (part.is_dict or kind != "add"):
            self._save(part, key, container)
        if not part.is_dict and kind != "replace":
            part.is_aligned = False
            self._move(part, kind, last)

    def _part_at(self, part: _Part, key: Any) -> _Part | None:
        """The part at a key, also if it is being encoded."""
        for (open_key, inner), (_, outer) in zip(self._open[1:], self._open, strict=False):
            if outer is part and open_key == key:
                return inner
        return part.parts.get(key)

    def _save(self, part: _Part, key: Any, container: Any) -> None:
        """Note what is at a key, before it is replaced, removed, or hidden by a safe part."""
        if key in part.done or key in part.old or key in part.finished:
            return
        inner = self._part_at(part, key)
        if inner is not None and inner.is_safe:
            return
        value = container[self._index(part, key)]
        if inner is None and not isinstance(value, (dict, list)):
            part.old[key] = value
        elif inner is None and weigh(value, self._size) >= 0:
            part.done[key] = encoded_json(value)
        else:
            if inner is None:
                inner = part.parts[key] = _Part(value)
            self._save_all(inner, value)

    def _save_all(self, part: _Part, container: Any) -> None:
        """Note all that no slice has encoded yet of a part."""
        if part.is_safe:
            return
        part.is_safe = True
        if not part.is_aligned:
            for key in part.keys[part.at :]:
                self._save(part, key, container)
            return
        part.values = list(dict.values(container) if part.is_dict else list.__iter__(container))
        if not any(issubclass(each, (dict, list)) for each in set(map(type, part.values))):
            return  # the usual case of a long array, found by a loop in C
        for at in range(part.at, len(part.keys)):
            if isinstance(part.values[at], (dict, list)):
                self._save(part, part.keys[at], container)

    def _move(self, part: _Part, kind: str, token: str) -> None:
        """Elements of an array move: note where those that are not encoded yet will be."""
        slots, index = part.slots, pointer_index(token)
        length = len(part.keys) if slots is None else len(slots)
        if index is None or index >= length:
            return  # behind all that count
        if slots is None:
            slots = part.slots = list(part.keys)
            part.near = part.at
        if self._has_several:
            self._old_slots.setdefault(id(part), (slots.copy(), part.near))
        if kind == "add":
            slots.insert(index, None)
        else:
            del slots[index]
        if index < part.near:
            part.near += 1 if kind == "add" else -1


def weigh(value: Any, left: int) -> int:
    """What is left of a number of bytes after the text of a value, roughly; it may be negative."""
    if type(value) is str:
        return left - len(value)
    items: Iterable[Any]
    if isinstance(value, dict):
        items = dict.values(value)
    elif isinstance(value, list):
        items = list.__iter__(value)
    else:
        return left
    left -= _ITEM * len(value)
    for item in items:
        if left < 0:
            break
        if type(item) is str:
            left -= len(item)
        elif isinstance(item, (dict, list)):
            left = weigh(item, left)
    return left
