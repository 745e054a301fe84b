"""`Reads`: what a function reads of a document, so that it runs again only if that has changed.

The function gets read-only containers that note what is asked of them. Their storage is a shallow
copy, because C code reads the storage of a subclass without calling its methods. A container of
which no method was called counts as read as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from operator import index as as_index
from typing import Any, SupportsIndex

from ..containers import ReadOnlyDict, ReadOnlyList, shallow_copy
from .place_index import ITSELF, MEMBERS, WHOLE
from .results import ResultCopy

_new_dict, _new_list = dict.__new__, list.__new__


class Reads:
    """One run of a function on ``reads.root``.

    >>> reads = Reads({"jobs": [{"n": 1}], "other": 0})
    >>> len(reads.root["jobs"])
    1
    >>> reads.places()
    [('/jobs', 'itself'), ('/jobs', 'members')]
    """

    def __init__(self, root: Any) -> None:
        self._places: dict[tuple[str, str], None] = {}
        self._parts: list[Any] = []
        self.guard = getattr(root, "_guard", None)
        self._hold: Any = self.guard if self.guard is not None else nullcontext()
        self.root: Any = self.part(root, "")

    def note(self, pointer: str, what: str) -> None:
        """Note that a place was read."""
        self._places[pointer, what] = None

    def part(self, value: Any, pointer: str) -> Any:
        """A value as the function gets it."""
        if isinstance(value, dict):
            part: Any = _new_dict(ReadDict)
            with self._hold:
                dict.update(part, shallow_copy(value))
        elif isinstance(value, list):
            part = _new_list(ReadList)
            with self._hold:
                list.extend(part, list.copy(value))
        else:
            return value
        part._begin(self, pointer)
        self._parts.append(part)
        return part

    def places(self) -> list[tuple[str, str]]:
        """What was read by now: pointers, each with what was read there (see `PlaceIndex`)."""
        for part in self._parts:
            if not part._is_used:
                self.note(part._place, WHOLE)
        return list(self._places)

    def plain(self, result: Any) -> ResultCopy:
        """A detached copy of a result of the function; notes that containers in it were read."""
        with self._hold:
            return ResultCopy(result)


class _Part:
    """What the two kinds of containers have in common."""

    __slots__ = ()
    _reads: Reads
    _place: str
    _is_used: bool

    def _begin(self, reads: Reads, pointer: str) -> None:
        put = object.__setattr__  # their own refuses
        put(self, "_guard", reads.guard)
        put(self, "_reads", reads)
        put(self, "_place", pointer)
        put(self, "_is_used", False)

    def _note(self, what: str) -> None:
        object.__setattr__(self, "_is_used", True)
        self._reads.note(self._place, what)

    def _note_child(self, token: str) -> str:
        object.__setattr__(self, "_is_used", True)
        pointer = f"{self._place}/{token.replace('~', '~0').replace('/', '~1')}"
        self._reads.note(pointer, ITSELF)
        return pointer


class ReadDict(_Part, ReadOnlyDict):
    """An object that notes what is read of it."""

    __slots__ = ("_is_used", "_place", "_reads")
    __hash__ = None

    def __getitem__(self, key: str) -> Any:
        pointer = self._note_key(key)
        return self._reads.part(dict.__getitem__(self, key), pointer)

    def get(self, key: str, default: Any = None) -> Any:
        pointer = self._note_key(key)
        if not dict.__contains__(self, key):
            return default
        return self._reads.part(dict.__getitem__(self, key), pointer)

    def __contains__(self, key: object) -> bool:
        self._note_key(key)
        return dict.__contains__(self, key)

    def __getattr__(self, name: str) -> Any:
        if name[:1] == "_":
            return super().__getattr__(name)
        if name not in self:
            raise AttributeError(f"no field or method {name!r}")
        return self[name]

    def _note_key(self, key: object) -> str:
        """Note a field; its absence, if there is none."""
        if isinstance(key, str):
            return self._note_child(key)
        self._note(MEMBERS)
        return self._place

    def __len__(self) -> int:
        self._note(MEMBERS)
        return dict.__len__(self)

    def __iter__(self) -> Iterator[str]:
        self._note(MEMBERS)
        return dict.__iter__(self)

    def __reversed__(self) -> Iterator[str]:
        self._note(MEMBERS)
        return dict.__reversed__(self)

    def keys(self) -> Any:
        self._note(MEMBERS)
        return dict.keys(self)

    def values(self) -> Any:
        self._note(WHOLE)
        return dict.values(self)

    def items(self) -> Any:
        self._note(WHOLE)
        return dict.items(self)

    def _copy_once(self, convert: Callable[[Any], Any]) -> dict[str, Any]:
        self._note(WHOLE)
        return super()._copy_once(convert)


class ReadList(_Part, ReadOnlyList):
    """An array that notes what is read of it."""

    __slots__ = ("_is_used", "_place", "_reads")
    __hash__ = None

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        if isinstance(index, slice):
            self._note(WHOLE)
            return list.__getitem__(self, index)
        at = as_index(index)
        if not 0 <= at < list.__len__(self):
            self._note(MEMBERS)
            if at < 0:  # which element that is depends on their number
                at += list.__len__(self)
            if at < 0:
                raise IndexError("list index out of range")
        value = list.__getitem__(self, at)
        return self._reads.part(value, self._note_child(str(at)))

    def __len__(self) -> int:
        self._note(MEMBERS)
        return list.__len__(self)

    def __iter__(self) -> Iterator[Any]:
        self._note(WHOLE)
        return list.__iter__(self)

    def __reversed__(self) -> Iterator[Any]:
        self._note(WHOLE)
        return list.__reversed__(self)

    def _copy_once(self, convert: Callable[[Any], Any]) -> list[Any]:
        self._note(WHOLE)
        return super()._copy_once(convert)
