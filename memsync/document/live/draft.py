"""Drafts, which ``mem.edit()`` hands out: editable views that record what was read and changed.

A draft reads the shared object lazily. Every old value that was read or changed becomes a ``test``
in the resulting patch, so the patch is refused if one of these values has changed. Reading one
field tests that field; iterating, comparing or counting tests the whole container. The cost depends
on what was read and changed, not on the size of the object.
"""

from __future__ import annotations

from typing import Any

from ..operations import Operation
from . import draft_dict, draft_list
from .draft_part import part_of

DraftDict = draft_dict.DraftDict
DraftList = draft_list.DraftList


class Draft:
    """An editable view of `root` that yields a guarded patch.

    >>> draft = Draft({"cart": {"n": 1}, "other": [0]})
    >>> draft.root["cart"]["n"] += 1
    >>> draft.patch()  # doctest: +NORMALIZE_WHITESPACE
    [{'op': 'test', 'path': '/cart/n', 'value': 1},
     {'op': 'replace', 'path': '/cart/n', 'value': 2}]
    """

    def __init__(self, root: dict[str, Any]) -> None:
        self.root: Any = part_of(root)
        self.root._blind = True

    @property
    def is_used(self) -> bool:
        """Whether a value of the draft was read or changed."""
        return not self.root._blind

    def patch(self) -> list[Operation]:
        """Return the tests followed by the changes, as an RFC 6902 list; ``[]`` if nothing changed.

        A guard on a missing value, or on the mere existence of a container, is a ``test`` with
        ``"absent"``; see `check_patch`. Raises `NotSerializableError` for values that cannot be
        shared.
        """
        changes: list[Operation] = self.root._changes(())
        return [*self.guards(), *changes] if changes else []

    def guards(self) -> list[Operation]:
        """Return the tests alone: they hold as long as the values that were read are current."""
        guards: list[Operation] = self.root._guards(())
        return guards
