"""One run of an observed function: what it reads, and what changes meanwhile."""

from __future__ import annotations

from typing import Any

from ..document import Operation, PlaceIndex, Reads

_MAX_OPERATIONS = 1000  # that are kept; after them all counts as changed


class FunctionRun:
    """One run of a function: what it reads, and what changes meanwhile."""

    def __init__(self, root: Any, is_copy: bool) -> None:
        self.reads = Reads(root)
        self.is_copy = is_copy
        self.is_lost = False
        self.operations: list[Operation] = []

    def note(self, operations: list[Operation] | None) -> None:
        """Note a change; the guard is held."""
        if operations is None or len(self.operations) > _MAX_OPERATIONS:
            self.is_lost = True
        else:
            self.operations += operations

    def is_touched(self, view: Any, places: list[tuple[str, str]]) -> bool:
        """Whether one of the places has changed meanwhile."""
        if self.is_lost or not self.operations:
            return self.is_lost
        index: PlaceIndex[bool] = PlaceIndex()
        for pointer, what in places:
            index.add(pointer, True, what)
        return bool(index.touched(view, self.operations))
