"""The value at one place after each of some patches, as far as the patches tell it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...errors import UpdateError
from ..containers import to_plain
from ..live.replay import write
from ..operations import Operation
from ..paths import Parts, is_digits, parse_pointer, pointer_of

UNKNOWN: Any = type("Unknown", (), {"__repr__": lambda self: "UNKNOWN"})()


class PlaceHistory:
    """Follows the value at a place; it is `UNKNOWN` until a patch sets it as a whole.

    >>> history = PlaceHistory("/a")
    >>> history.follow([{"op": "add", "path": "/a/x", "value": 1}]), history.value
    (True, UNKNOWN)
    >>> history.follow([{"op": "replace", "path": "/a", "value": {"x": 2}}]), history.value
    (True, {'x': 2})
    >>> history.follow([{"op": "replace", "path": "/a/x", "value": 3}]), history.value
    (True, {'x': 3})
    >>> history.follow([{"op": "replace", "path": "/b", "value": 3}])
    False

    A patch does not tell whether ``/a/0`` is a field or an element. So `objects` says which
    containers around the place are objects in the end (see `object_depths`), and `patches` are all
    that will be followed.
    """

    def __init__(
        self,
        pointer: str,
        objects: frozenset[int] = frozenset(),
        patches: Iterable[list[Operation]] = (),
    ) -> None:
        self._place = parse_pointer(pointer)
        self._holder: dict[str, Any] = {"": UNKNOWN}  # so that a patch can replace the value itself
        self._objects = objects
        self._replacing = [0] * (len(self._place) + 1)
        """How many operations still to come may replace what is at each depth of the place."""
        for patch in patches:
            for operation in patch:
                self._note_replacing(parse_pointer(operation["path"]), operation["op"], 1)

    @property
    def value(self) -> Any:
        """The value after the last patch, None where there is none; not to be changed."""
        return self._holder.get("")

    def follow(self, operations: list[Operation]) -> bool:
        """Apply a patch; whether it concerns the place."""
        concerned = [self._follow_one(operation) for operation in operations]
        return any(concerned)

    def _note_replacing(self, tokens: Parts, kind: str, number: int) -> None:
        depth = len(tokens)
        if depth <= len(self._place) and (
            tokens == self._place[:depth] or self._may_move(tokens, kind)
        ):
            self._replacing[depth] += number

    def _follow_one(self, operation: Operation) -> bool:
        place, tokens = self._place, parse_pointer(operation["path"])
        self._note_replacing(tokens, operation["op"], -1)
        common = len(tokens)
        if common > len(place):
            if tokens[: len(place)] != place:
                return False
            self._change_inside(operation, tokens[len(place) :])
            return True
        if self._may_move(tokens, operation["op"]) and not self._is_in_object(common):
            self._holder[""] = UNKNOWN
            return True
        if tokens != place[:common]:
            return False
        self._set(operation, place[common:])
        return True

    def _may_move(self, tokens: Parts, kind: str) -> bool:
        """Whether the element around the place has another index then, if it is in an array."""
        last = len(tokens) - 1
        if (
            kind == "replace"
            or last < 0
            or tokens[:last] != self._place[:last]
            or not is_digits(self._place[last])
        ):
            return False
        if not is_digits(tokens[last]):
            return tokens[last] == "-"
        first, index = int(tokens[last]), int(self._place[last])
        return first < index or (first == index and kind == "remove")

    def _is_in_object(self, depth: int) -> bool:
        """Whether what is at a depth of the place is a field now, as it is in the end."""
        return depth - 1 in self._objects and not any(self._replacing[:depth])

    def _set(self, operation: Operation, inner: Parts) -> None:
        value = operation.get("value")
        for token in inner:
            if isinstance(value, dict):
                value = value.get(token)
            elif isinstance(value, list) and is_digits(token) and int(token) < len(value):
                value = value[int(token)]
            else:
                value = None
        self._holder[""] = to_plain(value)

    def _change_inside(self, operation: Operation, inner: Parts) -> None:
        if self._holder[""] is UNKNOWN:
            return
        try:
            write(self._holder, {**operation, "path": pointer_of(("", *inner))})
        except UpdateError:
            self._holder[""] = UNKNOWN


def object_depths(document: Any, pointer: str) -> frozenset[int]:
    """Which containers around a place are objects, by their depths.

    >>> sorted(object_depths({"a": [{"0": 1}]}, "/a/0/0"))
    [0, 2]
    """
    found, value = set(), document
    for depth, token in enumerate(parse_pointer(pointer)):
        if isinstance(value, dict):
            found.add(depth)
            value = dict.get(value, token)
        elif isinstance(value, list) and is_digits(token) and int(token) < len(value):
            value = list.__getitem__(value, int(token))
        else:
            break
    return frozenset(found)
