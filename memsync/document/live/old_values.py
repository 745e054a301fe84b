"""What operations replace, noted while they are replayed, so that they can be undone.

An entry of the log says what a place becomes, not what it was. `OldValues` notes that for one entry
at a time. A scalar is noted as it is, which costs next to nothing. A container is noted as its
encoding, or, where that would take long, by reference: what has left both documents of a peer
changes no more.

A field that is removed has a position, to which `undo` must put it back. In a small object the
position is counted. In a large one that would delay the write, so the order of all its fields is
noted now and then, and nothing for the removals after it. Undoing such a removal leaves the object
*unordered*, until an earlier removal with the order is undone as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from operator import indexOf
from typing import Any

import msgspec

from ...lasting import lasting
from ..containers import to_plain
from ..encoding import encoded
from ..operations import Operation
from ..order import SCALAR_TYPES
from ..paths import split
from ..sliced import weigh
from ..traversal import MISSING
from .run import Run, descend, run_of

COUNTED = 128
"""Objects with more fields get their order noted, instead of positions."""

ENCODED = 8 * 1024
"""About as many bytes of text are encoded at most; larger values are kept by reference."""

_SAMPLES = 8
_SCALAR, _FIELD = 40, 100  # bytes of a scalar in a tuple, and of a field in a dict
_DECODED = 4  # a value in memory takes about as many times the bytes of its text
LIGHT = SCALAR_TYPES - {str} | {type(MISSING)}

_decode = msgspec.msgpack.Decoder().decode


@lasting
class Removed:
    """A removed field: its value, and its position or the order of all fields, if that is known."""

    __slots__ = ("order", "value")

    def __init__(self, value: Any, order: int | tuple[str, ...] | None) -> None:
        self.value = value
        self.order = order


@lasting
class Reference:
    """A container that has left the documents, and roughly how many bytes of memory it takes."""

    __slots__ = ("memory", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.memory = _DECODED * _roughly(value)


@lasting
class OldRun:
    """What a run (see `run`) has replaced, by the names of the fields that there were."""

    __slots__ = ("fields",)

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields


class OldValues(list[Any]):
    """The old values of the operations of one entry, in turn; MISSING where there was none."""

    __slots__ = ("_ordered", "must_copy")

    def __init__(self) -> None:
        super().__init__()
        self.must_copy = False  # nothing may be kept by reference
        # The objects whose order is noted, by id. They are kept, so that the id names no other one.
        self._ordered: dict[int, Any] = {}

    def take(self) -> Any:
        """What `Past.undo` needs to undo the entry; the next one begins."""
        if SCALAR_TYPES.issuperset(map(type, self)):
            taken = tuple(self)
        else:
            taken = tuple([_kept(old, self.must_copy) for old in self])
        self.clear()
        return taken[0] if len(taken) == 1 else taken

    def order_anew(self) -> None:
        """The next removal from a large object notes its order."""
        if self._ordered:
            self._ordered.clear()

    def append_removed(self, container: dict[str, Any], name: str) -> None:
        """Note a field that is about to be removed."""
        order: int | tuple[str, ...] | None = None
        if len(container) <= COUNTED:
            order = indexOf(dict.keys(container), name)
        elif id(container) not in self._ordered:
            self._ordered[id(container)] = container
            order = tuple(dict.keys(container))
        self.append(Removed(dict.__getitem__(container, name), order))

    def append_whole(self, document: dict[str, Any]) -> None:
        """Note the whole document, which is about to be replaced."""
        self.append(bytes(encoded(document)))

    def append_run(self, run: Run, root: Any) -> None:
        """Note the fields that a run is about to replace."""
        node = descend(root, run.parents)
        fields = {}
        if not dict.keys(node).isdisjoint(run.fields):
            known = filter(dict.keys(node).__contains__, run.fields)
            fields = {name: dict.__getitem__(node, name) for name in known}
        self.append(OldRun(fields))


def _kept(old: Any, must_copy: bool) -> Any:
    """An old value, with containers as what changes no more."""
    kind = type(old)
    if kind in SCALAR_TYPES:
        return old
    if kind is Removed:
        old.value = _kept(old.value, must_copy)
    elif kind is OldRun:
        old.fields = {name: _kept(value, must_copy) for name, value in old.fields.items()}
    elif isinstance(old, (dict, list)):
        if must_copy or weigh(old, ENCODED) >= 0:
            return bytes(encoded(old))
        return Reference(old)
    return old


def _roughly(value: Any) -> int:
    """Estimate the bytes of the text of a container, by a few of its items."""
    items = dict.values(value) if isinstance(value, dict) else list.__iter__(value)
    sample = sum(ENCODED - weigh(item, ENCODED) for item in islice(items, _SAMPLES))
    return sample * len(value) // max(min(len(value), _SAMPLES), 1)


def memory_of(taken: Any) -> int:
    """Roughly how many bytes of memory old values take; a single small one counts nothing."""
    kind = type(taken)
    if kind in LIGHT:
        return 0
    if kind is str or kind is bytes:
        return len(taken)
    if kind is tuple:
        memory = _SCALAR * len(taken)
        return memory if LIGHT.issuperset(map(type, taken)) else memory + sum(map(memory_of, taken))
    if kind is Removed:
        order = 8 * len(taken.order) if isinstance(taken.order, tuple) else 0
        return order + memory_of(taken.value)
    if kind is OldRun:
        return sum(_FIELD + memory_of(value) for value in taken.fields.values())
    return taken.memory  # type: ignore[no-any-return]  # of a reference


class Past:
    """A plain document that goes back, entry by entry; `unordered` objects must go back further.

    If it has only one `field` of the root, what concerns the others is left out.
    """

    def __init__(self, document: dict[str, Any], field: str | None = None) -> None:
        self.document = document
        self._field = field
        self.unordered: dict[int, Any] = {}  # by id

    def undo(self, operations: list[Operation], taken: Any) -> None:
        """Undo the operations of one entry.

        Raises `ValueError` if they are not those of which the old values were `taken`.
        """
        if type(taken) is not tuple:
            taken = (taken,)
        if len(taken) == 1 and type(taken[0]) is OldRun:
            self._undo_run(operations, taken[0])
            return
        if len(taken) != len(operations):
            raise ValueError("the old values are not those of the entry")
        for operation, old in zip(reversed(operations), reversed(taken), strict=True):
            if self._field is None or field_of(operation) in (self._field, None):
                self._undo(operation, old)

    def _undo(self, operation: Operation, old: Any) -> None:
        parents, last = split(operation["path"])
        if last is None:
            self._forget([self.document])
            self.document = _decode(old)
            return
        kind, node = operation["op"], descend(self.document, parents)
        if isinstance(node, list):
            self._undo_element(node, kind, last, old)
        elif isinstance(node, dict):
            self._undo_field(node, last, old)
        else:
            raise ValueError("the old values are not those of the entry")

    def _undo_element(self, array: list[Any], kind: str, token: str, old: Any) -> None:
        index = len(array) - 1 if token == "-" else int(token)
        if kind == "remove":
            array.insert(index, _plain(old))
        elif kind == "add":
            self._forget([array.pop(index)])
        else:
            self._forget([array[index]])
            array[index] = _plain(old)

    def _undo_field(self, node: dict[str, Any], name: str, old: Any) -> None:
        if type(old) is Removed:
            self._put_back(node, name, old)
            return
        if name in node:
            self._forget([node[name]])
        if old is MISSING:
            del node[name]
        else:
            node[name] = _plain(old)

    def _undo_run(self, operations: list[Operation], old: OldRun) -> None:
        run, field = run_of(operations), self._field
        if run is not None and run.parents and field not in (None, run.parents[0]):
            return
        node = None if run is None else descend(self.document, run.parents)
        if run is None or not isinstance(node, dict):
            raise ValueError("the old values are not those of the entry")
        for name in run.fields:
            if run.parents or field in (None, name):
                self._undo_field(node, name, old.fields.get(name, MISSING))

    def _put_back(self, node: dict[str, Any], name: str, old: Removed) -> None:
        order = old.order
        if isinstance(order, int):
            behind = list(islice(node, order, None))
            node[name] = _plain(old.value)
            for each in behind:
                node[each] = node.pop(each)
            return
        node[name] = _plain(old.value)
        if order is None:
            if self._field is not None and node is self.document:
                return
            self.unordered[id(node)] = node
            return
        for each in order:
            if each in node:
                node[each] = node.pop(each)
        self.unordered.pop(id(node), None)

    def _forget(self, values: Iterable[Any]) -> None:
        """These values are in the document no longer."""
        if not self.unordered:
            return
        for value in values:
            if isinstance(value, (dict, list)):
                self.unordered.pop(id(value), None)
                self._forget(value.values() if isinstance(value, dict) else value)


def field_of(operation: Operation) -> str | None:
    """The field of the root that an operation concerns; None if it is the root itself."""
    parents, last = split(operation["path"])
    return parents[0] if parents else last


def within(operations: Sequence[Operation], first: str) -> list[Operation]:
    """The operations that concern the field `first` of the root."""
    return [operation for operation in operations if field_of(operation) in (first, None)]


def _plain(old: Any) -> Any:
    """A copy of an old value, for a plain document."""
    if type(old) is bytes:
        return _decode(old)
    return to_plain(old.value) if type(old) is Reference else old
