"""`DraftDict`: the draft of an object. It is a dict, with every method of one."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from operator import is_, is_not
from typing import Any

from ...lasting import lasting
from ..containers import to_plain
from ..operations import Operation
from ..paths import Parts, pointer_of
from ..traversal import MISSING
from ..values import check_field_name
from .draft_part import (
    UNREAD,
    DraftPart,
    check,
    hand_out,
    handing_out,
    hold_guard,
    is_container,
    reading,
    storable,
)


@lasting
class DraftDict(DraftPart, dict[str, Any]):
    """The draft of an object; it works like a dict.

    Reading or changing one field tests that field. All else tests the whole object.
    """

    __slots__ = (
        "_base",
        "_blind",
        "_children",
        "_covered",
        "_drafted",
        "_filled",
        "_gone",
        "_old",
        "_places",
        "_since",
        "_suspect",
        "_tested",
        "_whole",
    )
    __hash__ = None
    _old: dict[str, Any]
    _base: dict[str, Any]

    def __new__(cls, *args: Any, **fields: Any) -> Any:
        """Return a plain dict: programs that rebuild a value call ``type(value)(...)``."""
        return dict(*args, **fields)

    fromkeys = staticmethod(dict.fromkeys)  # type: ignore[assignment]  # a plain dict, as above

    def _begin(self, base: Any, covered: bool) -> None:
        self._old = {}
        self._gone: dict[str, None] = {}  # old fields that were removed, and possibly set again
        super()._begin(base, covered)
        if covered:
            dict.update(self, base)
        elif not self._filled:
            dict.__setitem__(self, UNREAD, UNREAD)

    def _fill(self) -> None:
        with hold_guard(self._base):
            fields = dict(dict.items(self._base))
        for name in self._tested:  # as they were read
            if name in self._old:
                fields[name] = self._old[name]
            else:
                fields.pop(name, None)
        self._old = fields
        if not self._tested:
            dict.clear(self)
            dict.update(self, fields)
            return
        touched = dict(dict.items(self))
        touched.pop(UNREAD, None)
        now = {
            name: touched.get(name, value)
            for name, value in fields.items()
            if name not in self._gone
        }
        now.update((name, value) for name, value in touched.items() if name not in now)
        dict.clear(self)
        dict.update(self, now)

    def _touch(self, name: Any) -> None:
        """Test the old value of a field from now on."""
        self._blind = False
        if self._covered or name in self._tested or not isinstance(name, str):
            return  # field names are always strings
        self._tested[name] = None
        if not self._filled:
            value = dict.get(self._base, name, MISSING)
            if value is not MISSING:
                self._old[name] = value
                dict.__setitem__(self, name, value)

    def _handed_out(self, name: str, value: Any) -> Any:
        if not isinstance(value, (dict, list)):
            return value
        if isinstance(value, DraftPart):
            return hand_out(value)
        return hand_out(self._child(name)) if self._old.get(name) is value else value

    # -- single fields ---------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        if not self._covered:
            self._touch(name)
        return self._handed_out(name, dict.__getitem__(self, name))

    def get(self, name: str, default: Any = None) -> Any:
        self._touch(name)
        value = dict.get(self, name, MISSING)
        return default if value is MISSING else self._handed_out(name, value)

    def __contains__(self, name: object) -> bool:
        self._touch(name)
        return dict.__contains__(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        check_field_name(name, "")
        self._touch(name)
        if dict.get(self, name, MISSING) is value:
            return  # `draft["list"] += [1]` sets the list that is in place already
        check(value, (name,))
        if name in self._old:
            self._retire(name)
        dict.__setitem__(self, name, value)

    def __delitem__(self, name: str) -> None:
        self._touch(name)
        if not dict.__contains__(self, name):
            raise KeyError(name)
        if name in self._old:
            self._retire(name)
            self._gone[name] = None
        dict.__delitem__(self, name)

    def pop(self, name: str, default: Any = MISSING) -> Any:
        self._touch(name)
        if not dict.__contains__(self, name):
            if default is MISSING:
                raise KeyError(name)
            return default
        value = self._handed_out(name, dict.__getitem__(self, name))
        del self[name]
        return value

    def popitem(self) -> tuple[str, Any]:
        self._cover()
        if not dict.__len__(self):
            raise KeyError("popitem(): dictionary is empty")
        name = next(dict.__reversed__(self))
        return name, self.pop(name)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return the value of a field; set it to `default` first if it is missing."""
        if name not in self:
            self[name] = default
        return self[name]

    def update(self, *args: Any, **fields: Any) -> None:
        for name, value in dict(*args, **fields).items():
            self[name] = value

    def clear(self) -> None:
        self._cover()
        for name in list(dict.keys(self)):
            del self[name]

    # -- the whole object ------------------------------------------------------------------------

    __len__ = reading(dict.__len__)
    __iter__ = reading(dict.__iter__)
    __reversed__ = reading(dict.__reversed__)
    __eq__ = reading(dict.__eq__)
    __ne__ = reading(dict.__ne__)
    __repr__ = reading(dict.__repr__)
    keys = reading(dict.keys)
    values = handing_out(dict.values)
    items = handing_out(dict.items)

    def copy(self) -> dict[str, Any]:
        copied: dict[str, Any] = self.__copy__()
        return copied

    def __or__(self, other: Any) -> Any:
        return self.copy() | dict(other) if isinstance(other, dict) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return dict(other) | self.copy() if isinstance(other, dict) else NotImplemented

    def __ior__(self, other: Any) -> Any:
        self.update(other)
        return self

    # -- the patch -------------------------------------------------------------------------------

    def _old_items(self) -> Iterable[tuple[str, Any]]:
        return self._old.items()

    def _now(self, key: str) -> Any:
        return dict.get(self, key)

    def _set_now(self, key: str, value: Any) -> None:
        dict.__setitem__(self, key, value)

    def _shallow_copy(self) -> dict[str, Any]:
        return dict(dict.items(self))

    def _make_drafts(self) -> None:
        for name, value in list(dict.items(self)):
            if is_container(value) and self._old.get(name) is value:
                self._child(name)

    def _old_value(self) -> dict[str, Any]:
        if self._old is self._base:
            return self._old
        return {name: self._old_plain(name, old) for name, old in self._old.items()}

    def _deep(self, memo: dict[int, Any]) -> dict[str, Any]:
        self._test_whole()
        return {
            name: to_plain(value) if self._old.get(name) is value else copy.deepcopy(value, memo)
            for name, value in dict.items(self)
        }

    def _is_written_by_others(self) -> bool:
        if not self._filled:
            return any(
                name not in self._tested and name is not UNREAD for name in dict.__iter__(self)
            )
        old, now = self._old, dict.items(self)
        if len(old) == len(now) and all(map(is_, old, dict.__iter__(self))):
            explained = sum(dict.get(self, name) is not old.get(name) for name in self._tested)
            return sum(map(is_not, old.values(), dict.values(self))) != explained
        return any(
            name not in self._tested and dict.get(self, name, MISSING) is not value
            for name, value in old.items()
        ) or any(name not in old and name not in self._tested for name, _ in now)

    def _changed_names(self) -> Iterable[str]:
        """The old fields that may have another value, or none."""
        return self._old if self._covered else [name for name in self._tested if name in self._old]

    def _new_names(self) -> list[str]:
        """The fields that were added, or removed and set again, in order."""
        new = set(dict.keys(self)) if self._covered else set(self._tested)
        new = {name for name in new if name not in self._old or name in self._gone}
        return [name for name in dict.__iter__(self) if name in new] if new else []

    def _operations(self, path: Parts) -> list[Operation]:
        operations: list[Operation] = []
        removed: list[Operation] = []
        for name in self._changed_names():
            now = dict.get(self, name, MISSING)
            if now is MISSING or name in self._gone:
                removed.append({"op": "remove", "path": pointer_of((*path, name))})
            elif now is not self._old[name]:
                operations += self._inner_changes(name, now, path)
        operations += removed
        for name in self._new_names():
            check_field_name(name, ".".join(path))
            inner_path = (*path, name)
            new = storable(dict.__getitem__(self, name), inner_path)
            operations.append({"op": "add", "path": pointer_of(inner_path), "value": new})
        return operations


DraftPart._kinds[dict] = DraftDict
