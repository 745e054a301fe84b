"""Which of many observed places some operations touch, at a cost that the operations alone decide.

The places form a tree of tokens, so a change elsewhere costs a few dict lookups, however many
places there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

from ..operations import Operation
from ..paths import array_index, is_digits, parse_pointer, pointer_of

T = TypeVar("T")

WHOLE, MEMBERS, ITSELF = "whole", "members", "itself"
"""What is observed of a place: all of it; which fields or elements it has; that it is there, and
its value if that is no container."""


class _Node(Generic[T]):
    __slots__ = ("children", WHOLE, ITSELF, MEMBERS)

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.whole: dict[T, None] = {}
        self.members: dict[T, None] = {}
        self.itself: dict[T, None] = {}

    def is_empty(self) -> bool:
        return not (self.children or self.whole or self.members or self.itself)


class PlaceIndex(Generic[T]):
    """Hashable items by the places (RFC 6901 pointers) that they observe.

    >>> index = PlaceIndex()
    >>> index.add("/jobs/0", "first")
    >>> index.add("/jobs", "all")
    >>> index.add("/jobs", "number", MEMBERS)
    >>> document = {"jobs": [{"n": 1}, {"n": 5}]}
    >>> [*index.touched(document, [{"op": "replace", "path": "/jobs/1/n", "value": 5}])]
    ['all']
    >>> [*index.touched(document, [{"op": "add", "path": "/jobs/1", "value": {"n": 5}}])]
    ['all', 'number']
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, pointer: str, item: T, what: str = WHOLE) -> None:
        """Observe a place; the item may observe others, too."""
        node = self._root
        for token in parse_pointer(pointer):
            inner = node.children.get(token)
            if inner is None:
                inner = node.children[token] = _Node()
            node = inner
        getattr(node, what)[item] = None

    def remove(self, pointer: str, item: T, what: str = WHOLE) -> None:
        """Undo `add`; without effect if there is nothing to undo."""
        path, node = [], self._root
        for token in parse_pointer(pointer):
            path.append((node, token))
            inner = node.children.get(token)
            if inner is None:
                return
            node = inner
        getattr(node, what).pop(item, None)
        while path and node.is_empty():
            node, token = path.pop()
            del node.children[token]

    def touched(
        self, document: Any, operations: list[Operation], moved: int | None = None
    ) -> dict[T, None]:
        """The items at whose places the operations may have changed something.

        `document` is the state after the operations. `moved` is the number of all operations that
        have led to it, if these are only some of them.
        """
        found: dict[T, None] = {}
        most = len(operations) if moved is None else moved
        for operation in operations:
            tokens = parse_pointer(operation["path"])
            node = self._root
            if not tokens:
                _add_all(node, found)
                continue
            for token in tokens[:-1]:
                if node.whole:
                    found.update(node.whole)
                inner = node.children.get(token)
                if inner is None:
                    break
                node = inner
            else:
                if node.whole:
                    found.update(node.whole)
                kind = operation["op"]
                if kind == "replace":
                    inner = node.children.get(tokens[-1])
                    if inner is not None:
                        _add_all(inner, found)
                elif node.members or node.children:
                    _add_moved(node, tokens, document, most, found)
        return found


def _add_moved(
    node: _Node[T],
    tokens: tuple[str, ...],
    document: Any,
    most: int,
    found: dict[T, None],
) -> None:
    """Add what a new or removed member touches; `node` is that of its container."""
    found.update(node.members)
    last = tokens[-1]
    if last == "-" or is_digits(last):
        array = _array_at(document, tokens[:-1])
        if array is not None:
            size = len(array) + most  # an element that was there before has a lower index
            first = max(len(array) - most, 0) if last == "-" else int(last)
            _add_elements(node, range(first, size), found)
            return
    inner = node.children.get(last)
    if inner is not None:
        _add_all(inner, found)


def _add_elements(node: _Node[T], indexes: range, found: dict[T, None]) -> None:
    """All elements from an index on have moved."""
    children = node.children
    tokens: Iterable[str] = map(str, indexes)
    if len(indexes) > len(children):
        tokens = [token for token in children if is_digits(token) and int(token) in indexes]
    for token in tokens:
        if token in children:
            _add_all(children[token], found)


def _add_all(node: _Node[T], found: dict[T, None]) -> None:
    nodes = [node]
    while nodes:
        node = nodes.pop()
        found.update(node.whole)
        found.update(node.members)
        found.update(node.itself)
        nodes.extend(node.children.values())


def _array_at(document: Any, tokens: tuple[str, ...]) -> list[Any] | None:
    """The array at a place, None if there is none."""
    for token in tokens:
        if isinstance(document, dict):
            document = dict.get(document, token)
        elif isinstance(document, list) and is_digits(token) and int(token) < len(document):
            document = list.__getitem__(document, int(token))
        else:
            return None
    return document if isinstance(document, list) else None


def place_of(parts: Sequence[str]) -> str:
    """The pointer of the place that decides what a dotted path leads to.

    A part with leading zeros may be a field, or the index of an element: then its container
    decides. It decides as well where a part has more digits than an index.

    >>> place_of(("a", "0")), place_of(("a", "01", "b"))
    ('/a/0', '/a')
    """
    for position, part in enumerate(parts):
        if part.isdecimal() and str(array_index(part)) != part:
            return pointer_of(tuple(parts[:position]))
    return pointer_of(tuple(parts))
