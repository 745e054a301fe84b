"""The value at one place after each of some patches, as far as the patches tell it."""

from __future__ import annotations

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
    """

    def __init__(self, pointer: str) -> None:
        self._place = parse_pointer(pointer)
        self._holder: dict[str, Any] = {"": UNKNOWN}  # so that a patch can replace the value itself

    @property
    def value(self) -> Any:
        """The value after the last patch, None where there is none; not to be changed."""
        return self._holder.get("")

    def follow(self, operations: list[Operation]) -> bool:
        """Apply a patch; whether it concerns the place."""
        concerned = [self._follow_one(operation) for operation in operations]
        return any(concerned)

    def _follow_one(self, operation: Operation) -> bool:
        place, tokens = self._place, parse_pointer(operation["path"])
        common = len(tokens)
        if common > len(place):
            if tokens[: len(place)] != place:
                return False
            self._change_inside(operation, tokens[len(place) :])
            return True
        if common and self._may_move(tokens, operation["op"]):
            self._holder[""] = UNKNOWN
            return True
        if tokens != place[:common]:
            return False
        self._set(operation, place[common:])
        return True

    def _may_move(self, tokens: Parts, kind: str) -> bool:
        """Whether an element is added or removed in what may be an array around the place."""
        last = len(tokens) - 1
        return (
            kind != "replace"
            and tokens[:last] == self._place[:last]
            and is_digits(self._place[last])
            and (tokens[last] == "-" or is_digits(tokens[last]))
        )

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
