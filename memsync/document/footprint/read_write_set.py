"""Whether changes have to do with one another, judged by the places they touch.

Changes that touch nothing of each other can be done in either order with the same result, the order
of keys included. So what is touched is more than what is written: a key that comes or goes touches
the *order* of its object, an element that does moves all others of its array, and an update also
depends on what it reads: the fields of its filter, the source of a move, the values it tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..operations import Operation
from ..paths import above, is_digits, pointer_of
from .write_set import written

# No pointer ends like this: after "~" comes 0 or 1.
_ORDER = "/~order"
_LOGICAL = ("$and", "$or", "$nor")


class Touches:
    """The places that some changes touch; only grows.

    >>> touches = Touches()
    >>> touches.add(["/a/b"])
    >>> touches.meets(["/a"]), touches.meets(["/a/b/c"]), touches.meets(["/a/x"])
    (True, True, False)
    """

    __slots__ = ("_above", "_at")

    def __init__(self) -> None:
        self._at: set[str] = set()
        self._above: set[str] = set()

    def add(self, pointers: Iterable[str]) -> None:
        """Add touched places."""
        for pointer in pointers:
            if pointer not in self._at:
                self._at.add(pointer)
                self._above.update(above(pointer))

    def meets(self, pointers: Iterable[str]) -> bool:
        """Whether one of the places equals, contains or lies within a touched one."""
        at = self._at
        return any(
            pointer in at
            or pointer in self._above
            or any(prefix in at for prefix in above(pointer))
            for pointer in pointers
        )


def touched_by(operations: Iterable[Operation]) -> Iterator[str]:
    """The places which compiled operations touch.

    >>> list(touched_by([{"op": "add", "path": "/a/b", "value": 1}]))
    ['/a/b', '/a/~order']
    """
    for operation in operations:
        pointer: str = operation["path"]
        if operation["op"] in ("replace", "test"):
            yield pointer
            continue
        parent, _, last = pointer.rpartition("/")
        if last == "-" or is_digits(last):
            yield parent  # perhaps an array, in which all that follows moves
        else:
            yield pointer
            yield parent + _ORDER


def looked_at(body: Any, where: dict[str, Any] | None) -> Iterator[str]:
    """The places on which it depends what an update or an RFC 6902 list compiles to.

    >>> list(looked_at({"$inc": {"a.n": 1}}, {"$or": [{"b.c": 1}]}))
    ['/a/n', '/b']
    """
    for each in written(body):
        yield each.pointer
    if isinstance(body, list):
        for operation in body:
            # A key that is taken out and put in again moves, unless it is the last one already.
            yield from touched_by([operation])
            if operation["op"] == "move":
                yield from touched_by([{"op": "remove", "path": operation["from"]}])
            elif operation["op"] == "copy":
                yield operation["from"]
    if where is not None:
        yield from filtered_by(where)


def filtered_by(where: dict[str, Any]) -> Iterator[str]:
    """The places on which the result of a checked filter depends.

    These are its top-level fields: further down it may enter any element of an array.

    >>> list(filtered_by({"$or": [{"b.c": 1}]}))
    ['/b']
    """
    for name, operand in where.items():
        if name in _LOGICAL:
            for each in operand:
                yield from filtered_by(each)
        else:
            yield pointer_of((name.split(".")[0],))
