"""Drafts, which ``mem.edit()`` hands out: editable views that record what was read and changed.

A draft reads the shared object lazily. Every old value that was read or changed becomes a ``test``
in the resulting patch, so the patch is refused if one of these values has changed. Reading one
field tests that field; iterating, comparing or counting tests the whole container. The cost depends
on what was read and changed, not on the size of the object.
"""

from __future__ import annotations

from typing import Any

from ...errors import ConflictError
from ..operations import Operation
from ..patch.rfc6902 import value_at_pointer
from . import draft_dict, draft_list
from .changed_places import ChangedPlaces
from .draft_part import hold_guard, part_of

DraftDict = draft_dict.DraftDict
DraftList = draft_list.DraftList


class Draft:
    """An editable view of `root` that yields a guarded patch.

    `places` gets the changes of `root`; without it nothing may change `root` meanwhile.

    >>> draft = Draft({"cart": {"n": 1}, "other": [0]})
    >>> draft.root["cart"]["n"] += 1
    >>> draft.patch()  # doctest: +NORMALIZE_WHITESPACE
    [{'op': 'test', 'path': '/cart/n', 'value': 1},
     {'op': 'replace', 'path': '/cart/n', 'value': 2}]
    """

    def __init__(self, root: dict[str, Any], places: ChangedPlaces | None = None) -> None:
        self._base = root
        self._places = ChangedPlaces() if places is None else places
        self._begun = self._places.count
        self.root: Any = part_of(root, self._places)
        self.root._blind = True

    @property
    def is_used(self) -> bool:
        """Whether a value of the draft was read or changed."""
        return not self.root._blind or self.root._covered

    def patch(self) -> list[Operation]:
        """Return the tests followed by the changes, as an RFC 6902 list; ``[]`` if nothing changed.

        A guard on a missing value, or on the mere existence of a container, is a ``test`` with
        ``"absent"``; see `check_patch`. Raises `NotSerializableError` for values that cannot be
        shared, and `ConflictError` if C code may have read in a part what has changed since.
        """
        changes: list[Operation] = self.root._changes(())
        if not changes:
            return []
        operations = [*self.guards(), *changes]
        if self._places.count != self._begun:
            self._refuse_outdated()  # after all old values were copied
        return operations

    def _refuse_outdated(self) -> None:
        for pointer, since in self.root._blind_reads(()):
            if self._places.has_changed(pointer, since):
                error = ConflictError(
                    f"{pointer!r} was handed out by the draft and has changed since, and what has "
                    "read it cannot be seen: repeat the edit, or use .copy() of the part"
                )
                with hold_guard(self._base):
                    error.path, error.value = pointer, value_at_pointer(self._base, pointer)
                raise error

    def guards(self) -> list[Operation]:
        """Return the tests alone: they hold as long as the values that were read are current."""
        guards: list[Operation] = self.root._guards(())
        return guards
