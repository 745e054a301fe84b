"""Elements that move in the view while a draft is open.

A draft reads the view piece by piece, and names elements by the indexes that they had then. The
patch is made on the version that the view has when it is sent, so moves until then are "seen" by
the rule of `moved_indexes`, but not by the draft.
"""

from __future__ import annotations

from typing import Any

from ..document import ChangedPlaces, Operation, move_one, named_elements, value_at_pointer
from ..errors import ConflictError

_MAX_OPERATIONS = 1000


class MovedWatch:
    """The changes of the view since a draft was begun that may have moved elements.

    All methods need the guard of the view.
    """

    __slots__ = ("__weakref__", "_is_lost", "_operations", "places", "view")

    def __init__(self, view: Any) -> None:
        self.view = view
        self.places = ChangedPlaces()  # for the parts that C code may have read
        self.restart()

    def restart(self) -> None:
        """Forget the changes: a new draft begins."""
        self._operations: list[Operation] = []
        self._is_lost = False  # all may have moved

    def add(self, operations: list[Operation] | None) -> None:
        """Add a change of the view; None: all of it may have changed."""
        self.places.add(operations)
        if operations is None or len(self._operations) > _MAX_OPERATIONS:
            self._is_lost = True
            self._operations = []
        if operations is None or self._is_lost:
            return
        for operation in operations:
            kind = operation["op"]
            if kind != "replace" or isinstance(operation["value"], (dict, list)):
                self._operations.append({"op": kind, "path": operation["path"]})

    def check(self, view: Any, body: list[Operation]) -> None:
        """Raise `ConflictError` if the patch of the draft names an element that may have moved."""
        is_lost = self._is_lost or view is not self.view
        if not is_lost and not self._operations:
            return
        for pointer, elements in named_elements(view, body):
            if is_lost or move_one(self._operations, elements):
                error = ConflictError(
                    f"the array at {elements[-1].array!r} has changed while the draft was open, so "
                    f"{pointer!r} may name another element now: repeat the edit"
                )
                error.path, error.value = pointer, value_at_pointer(view, pointer)
                raise error
