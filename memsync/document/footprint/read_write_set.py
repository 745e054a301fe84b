"""Read and write sets: whether changes depend on each other, judged by the places they name.

Changes whose read and write sets are disjoint can be applied in either order with the same result,
including the order of keys. The sets therefore hold more than the written paths. Adding or removing
a key changes the *order* of its object. Adding or removing an element moves the other elements of
its array. An update also depends on what it reads: the fields of its filter, the source of a move,
the values it tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..operations import Operation
from ..paths import above, is_digits, pointer_of
from .write_set import write_set, written_pointers

# No pointer ends like this: "~" is always followed by 0 or 1.
_ORDER = "/~order"
_LOGICAL = ("$and", "$or", "$nor")


class ReadWriteSet:
    """The places that some changes read or write; it only grows.

    >>> places = ReadWriteSet()
    >>> places.add(["/a/b"])
    >>> places.overlaps(["/a"]), places.overlaps(["/a/b/c"]), places.overlaps(["/a/x"])
    (True, True, False)
    """

    __slots__ = ("_above", "_at")

    def __init__(self) -> None:
        self._at: set[str] = set()
        self._above: set[str] = set()

    def add(self, pointers: Iterable[str]) -> None:
        """Add places, as pointers."""
        for pointer in pointers:
            if pointer not in self._at:
                self._at.add(pointer)
                self._above.update(above(pointer))

    def overlaps(self, pointers: Iterable[str]) -> bool:
        """Whether one of the places equals, contains or lies within one of the set."""
        at = self._at
        for pointer in pointers:
            if pointer in at or pointer in self._above:
                return True
            for prefix in above(pointer):
                if prefix in at:
                    return True
        return False


def read_write_set(operations: Iterable[Operation]) -> Iterator[str]:
    """Yield the places that compiled operations read or write.

    >>> list(read_write_set([{"op": "add", "path": "/a/b", "value": 1}]))
    ['/a/b', '/a/~order']
    """
    for operation in operations:
        pointer: str = operation["path"]
        if operation["op"] in ("replace", "test"):
            yield pointer
            continue
        parent, _, last = pointer.rpartition("/")
        if last == "-" or is_digits(last):
            yield parent  # may be an array, in which all later elements move
        else:
            yield pointer
            yield parent + _ORDER


def compile_read_set(body: Any, where: dict[str, Any] | None) -> Iterator[str]:
    """Yield the places that determine what an update or an RFC 6902 list compiles to.

    >>> list(compile_read_set({"$inc": {"a.n": 1}}, {"$or": [{"b.c": 1}]}))
    ['/a/n', '/b']
    """
    if isinstance(body, dict):
        yield from written_pointers(body)
    else:
        for each in write_set(body):
            yield each.pointer
        for operation in body:
            # A key that is removed and added again moves, unless it was the last one.
            yield from read_write_set([operation])
            if operation["op"] == "move":
                yield from read_write_set([{"op": "remove", "path": operation["from"]}])
            elif operation["op"] == "copy":
                yield operation["from"]
    if where is not None:
        yield from filter_read_set(where)


def filter_read_set(where: dict[str, Any]) -> Iterator[str]:
    """Yield the places that determine the result of a checked filter.

    These are its top-level fields, because below them it may enter any element of an array.

    >>> list(filter_read_set({"$or": [{"b.c": 1}]}))
    ['/b']
    """
    for name, operand in where.items():
        if name in _LOGICAL:
            for each in operand:
                yield from filter_read_set(each)
        else:
            yield pointer_of((name.split(".")[0],))
