"""`DraftList`: the draft of an array. It is a list, with every method of one."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import repeat
from operator import index as index_of
from operator import is_, is_not
from typing import Any, SupportsIndex

from ...errors import UsageError
from ...lasting import lasting
from ..containers import to_plain
from ..operations import Operation
from ..order import SCALAR_TYPES, identical
from ..patch.array_diff import array_operations
from ..paths import Parts, pointer_of
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

_UNREAD_ITEMS = 3  # `heapq.heappop` compares two of three, which fails


@lasting
class DraftList(DraftPart, list[Any]):
    """The draft of an array; it works like a list.

    Reading, setting or appending a single element tests at most that element. An operation that
    depends on the length or moves elements tests the whole array.
    """

    __slots__ = (
        "_added",
        "_appended",
        "_base",
        "_blind",
        "_cells",
        "_children",
        "_covered",
        "_drafted",
        "_filled",
        "_indexes",
        "_old",
        "_places",
        "_since",
        "_size",
        "_suspect",
        "_tested",
        "_whole",
    )
    __hash__ = None

    def __new__(cls, *args: Any) -> Any:
        """Return a plain list: programs that rebuild a value call ``type(value)(...)``."""
        return list(*args)

    def _begin(self, base: Any, covered: bool) -> None:
        self._old: Any = {}  # by index; a list once it is filled
        self._size = len(base)
        self._appended = 0  # how many elements at the end are new, while it is not covered
        # Until it is filled: the current values of the elements that were read, and the new ones.
        self._cells: dict[int, Any] = {}
        self._added: list[Any] = []
        self._indexes: dict[int, int] | None = None
        super()._begin(base, covered)
        if covered:
            list.extend(self, base)
        elif not self._filled:
            list.extend(self, [UNREAD] * _UNREAD_ITEMS)

    def _fill(self) -> None:
        with hold_guard(self._base):
            old = list.copy(self._base)
        now = old.copy() if self._cells or self._added else old
        for index in sorted(self._cells):  # as they were read
            if index < len(old):
                old[index] = self._old[index]
                now[index] = self._cells[index]
            else:
                old.append(self._old[index])
                now.append(self._cells[index])
        self._old = old
        self._size = len(old)
        list.__setitem__(self, slice(None), now + self._added)
        self._cells, self._added = {}, []

    # -- single elements -------------------------------------------------------------------------

    def _single(self, index: Any) -> int | None:
        """Return the index of an element that can be used without the others, or None."""
        if self._covered or isinstance(index, slice):
            return None
        place = int(index_of(index))
        if 0 <= place < self._size:
            if place not in self._tested and not self._filled:
                try:
                    self._old[place] = self._cells[place] = list.__getitem__(self._base, place)
                except IndexError:
                    return None  # the array has become shorter since
            self._tested[place] = None
        elif not -self._appended <= place < 0:  # else the program itself has put it there
            return None
        self._blind = False
        return place

    def _now(self, key: int) -> Any:
        if not self._filled:
            return self._added[key] if key < 0 else self._cells[key]
        return list.__getitem__(self, key) if key < list.__len__(self) else None

    def _set_now(self, key: int, value: Any) -> None:
        if self._filled:
            list.__setitem__(self, key, value)
        else:
            (self._added if key < 0 else self._cells)[key] = value

    def _handed_out(self, index: int) -> Any:
        value = self._now(index)
        if isinstance(value, DraftPart):
            return hand_out(value)
        if is_container(value):
            place = self._place(index, value)
            if place is not None:
                child = self._child(place)
                self._set_now(index, child)
                return hand_out(child)
        return value

    def _place(self, index: int, value: Any) -> int | None:
        """Return the old index of a container of the object; None for one of the program."""
        if not self._covered:
            return index if index >= 0 and self._old[index] is value else None
        if self._indexes is None:
            self._indexes = {
                id(old): place for place, old in enumerate(self._old) if is_container(old)
            }
        return self._indexes.get(id(value))

    def __getitem__(self, index: Any) -> Any:
        single = self._single(index)
        if single is not None:
            return self._handed_out(single)
        if isinstance(index, slice):
            self._cover_with_drafts()
            return list.__getitem__(self, index)
        self._cover()
        return self._handed_out(self._checked(index, "list index out of range"))

    def _checked(self, index: SupportsIndex, problem: str) -> int:
        """Return an index from the start. Raises `IndexError`."""
        position, size = index_of(index), list.__len__(self)
        if not -size <= position < size:
            raise IndexError(problem)
        return position % size

    def __setitem__(self, index: Any, value: Any) -> None:
        single = self._single(index)
        if single is not None:
            if self._now(single) is not value:
                check(value, (str(single),))
                if single >= 0:
                    self._retire(single)
                self._set_now(single, value)
            return
        if isinstance(index, slice):
            value = list(value)
            for item in value:
                check(item, ())
        else:
            check(value, ())
        self._cover()
        list.__setitem__(self, index, value)

    def append(self, value: Any) -> None:
        check(value, ())
        self._blind = False
        if self._filled:
            list.append(self, value)
        else:
            self._added.append(value)
        self._appended += 1

    def extend(self, values: Iterable[Any]) -> None:
        for value in list(values):
            self.append(value)

    def __iadd__(self, values: Any) -> Any:
        self.extend(values)
        return self

    def insert(self, index: SupportsIndex, value: Any) -> None:
        check(value, ())
        self._cover()
        list.insert(self, index, value)

    def pop(self, index: SupportsIndex = -1) -> Any:
        single = self._single(index)
        if single is not None and single < 0:
            value = self._handed_out(single)
            if self._filled:
                list.__delitem__(self, single)
            else:
                del self._added[single]
            self._appended -= 1
            return value
        self._cover()
        place = self._checked(index, "pop index out of range")
        value = self._handed_out(place)
        list.__delitem__(self, place)
        return value

    # -- the whole array -------------------------------------------------------------------------

    __len__ = reading(list.__len__)
    __contains__ = reading(list.__contains__)
    __delitem__ = reading(list.__delitem__)
    __eq__ = reading(list.__eq__)
    __ne__ = reading(list.__ne__)
    __lt__ = reading(list.__lt__)
    __le__ = reading(list.__le__)
    __gt__ = reading(list.__gt__)
    __ge__ = reading(list.__ge__)
    __repr__ = reading(list.__repr__)
    index = reading(list.index)
    count = reading(list.count)
    remove = reading(list.remove)
    clear = reading(list.clear)
    reverse = reading(list.reverse)
    __iter__ = handing_out(list.__iter__)
    __reversed__ = handing_out(list.__reversed__)
    __imul__ = handing_out(list.__imul__)
    __mul__ = handing_out(list.__mul__)
    __rmul__ = handing_out(list.__rmul__)
    copy = handing_out(list.copy)
    sort = handing_out(list.sort)

    def __add__(self, other: Any) -> Any:
        return self.copy() + other

    # Also called for `plain += draft`, which therefore makes a new list. Without it C code would
    # read the storage of the draft for `plain + draft`.
    def __radd__(self, other: Any) -> Any:
        return other + self.copy()

    # -- the patch -------------------------------------------------------------------------------

    def _old_items(self) -> Iterable[tuple[int, Any]]:
        return enumerate(self._old)

    def _old_keys(self) -> Any:
        return range(self._size)

    def _shallow_copy(self) -> list[Any]:
        return list.copy(self)

    def _make_drafts(self) -> None:
        for index, value in enumerate(list.copy(self)):
            if is_container(value) and not isinstance(value, DraftPart):
                place = self._place(index, value)
                if place is not None:
                    list.__setitem__(self, index, self._child(place))

    def _old_value(self) -> list[Any]:
        if self._old is self._base:
            return self._base  # type: ignore[no-any-return]
        return [self._old_plain(index, old) for index, old in enumerate(self._old)]

    def _deep(self, memo: dict[int, Any]) -> list[Any]:
        self._test_whole()
        return [
            value
            if type(value) in SCALAR_TYPES
            else copy.deepcopy(value, memo)
            if self._place(index, value) is None
            else to_plain(value)
            for index, value in enumerate(list.__iter__(self))
        ]

    def _is_written_by_others(self) -> bool:
        if not self._filled:
            if list.__len__(self) != _UNREAD_ITEMS or any(
                map(is_not, list.__iter__(self), repeat(UNREAD))
            ):
                raise UsageError(f"C code has changed {UNREAD!r}")
            return False
        if list.__len__(self) != self._size + self._appended:
            return True
        explained = sum(self._now(index) is not self._old[index] for index in self._tested)
        return sum(map(is_not, self._old, list.__iter__(self))) != explained

    def _operations(self, path: Parts) -> list[Operation]:
        if self._covered:
            return self._array_operations(path)
        operations = [
            operation
            for index in sorted(self._tested)
            for operation in self._inner_changes(index, self._now(index), path)
        ]
        added = list.copy(self)[self._size :] if self._filled else self._added
        for value in added:
            new = storable(value, (*path, "-"))
            operations.append({"op": "add", "path": f"{pointer_of(path)}/-", "value": new})
        return operations

    def _array_operations(self, path: Parts) -> list[Operation]:
        """Return the difference between the old array and the storage."""
        old, now = self._old, list.copy(self)
        if len(old) == len(now) and all(map(is_, old, now)):
            return []
        old = self._old_value()
        own = {id(child): old[index] for index, child in self._children.items()}
        unchanged = {id(value) for value in old}
        seen: set[int] = set()

        def comparable(item: Any) -> Any:
            if type(item) in SCALAR_TYPES:
                return item
            is_first = id(item) not in seen
            seen.add(id(item))
            if is_first and (id(item) in own or id(item) in unchanged):
                return item
            return storable(item, (*path, "-"))

        def base_of(item: Any) -> Any:
            return own.get(id(item), item)

        def is_still(value: Any, item: Any) -> bool:
            base = own.get(id(item))
            return value is item or identical(value, item) if base is None else base is value

        new = [comparable(item) for item in now]
        operations = array_operations(pointer_of(path), old, new, 0, is_still, base_of)
        whole = {id(operation.get("value")) for operation in operations}
        for operation in operations:
            if "value" in operation:
                operation["value"] = storable(operation["value"], (*path, "-"))
        for index, item in enumerate(new):
            if isinstance(item, DraftPart) and id(item) not in whole:
                operations += item._changes((*path, str(index)))
        return operations


DraftPart._kinds[list] = DraftList
