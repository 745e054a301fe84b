"""`DraftPart`: what the drafts of objects and of arrays have in common.

A part is a true dict or list. Its own storage holds its current value, because C code (an encoder,
`heapq`) reads and writes the storage of a subclass without calling its methods. Three kinds of
values stand in the storage: an untouched value of the object, the draft of a container that was
handed out (a *child*), and whatever the program has put there, by reference.

The methods record what was read. What C code does is found out afterwards: a changed storage that
no method explains means that the whole container is tested, and so does a part that was handed out
without a call of any of its methods. C code that goes deeper reads containers of the view, whose
old values nobody keeps. So such a part is out of date once its place in the view has changed.

A container of more than `FILLED_MAX` items is not copied when it is handed out. Until a method
needs the whole container, its storage holds `LargeDraftNeedsCopy` objects, which no encoder takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar

from ...lasting import lasting
from ..containers import ReadOnlyDict, ReadOnlyList, Tracked, to_plain
from ..operations import Operation
from ..order import identical
from ..paths import Parts, is_digits, pointer_of
from ..values import normalize
from .changed_places import ChangedPlaces

FILLED_MAX = 256
"""The maximum number of items that are copied when a container is handed out."""


class LargeDraftNeedsCopy:
    """Stands in the storage of a large draft that was not read as a whole.

    Code in C that reads the storage in place fails, instead of taking the draft for an empty one.
    """

    __slots__ = ()
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return "<a large draft: C code cannot read it in place, so pass draft.copy()>"

    def __lt__(self, other: object) -> bool:
        raise TypeError(repr(self))

    __gt__ = __le__ = __ge__ = __lt__


UNREAD: Any = globals().get("UNREAD") or LargeDraftNeedsCopy()  # `importlib.reload` keeps it
_NEVER = 1 << 62  # no change matters: its inner containers are private copies


def is_container(value: Any) -> bool:
    """Whether a value is an object or an array, a draft included."""
    return isinstance(value, (dict, list))


def token_of(key: Any) -> str:
    """A key as a token of a pointer. `str` of a name could be anything: of an enum, for example."""
    return str(key) if isinstance(key, int) else key


def hold_guard(base: Any) -> Any:
    """A context manager that keeps other threads from changing `base`."""
    return getattr(base, "_guard", None) or nullcontext()


def check(value: Any, path: Parts) -> None:
    """Raise `NotSerializableError` unless a value can be stored at `path`."""
    if isinstance(value, DraftPart):
        value._cover()  # what it holds goes to another place, so all of it was read
    else:
        normalize(value, ".".join(path), len(path))


def storable(value: Any, path: Parts) -> Any:
    """Return the value as it will be stored at `path`. Raises `NotSerializableError`."""
    return normalize(value, ".".join(path), len(path))


def known(value: Any) -> Any:
    """Return an argument in a form that C code can read in place."""
    if isinstance(value, Tracked):
        return value._content()
    return value.copy() if isinstance(value, (ReadOnlyDict, ReadOnlyList)) else value


@lasting
class DraftPart(Tracked):
    """The base of drafts of objects and arrays: it records what was read and what it was.

    `_old` holds old values by key: all of them if the part is *filled*, else those that were read.
    A *covered* part is one whose whole old value is tested, by its own test (`_whole`) or by one
    above it; its old values are private copies.
    """

    _kinds: ClassVar[dict[type, type[Any]]] = {}

    if not TYPE_CHECKING:
        __slots__ = ()  # those of its subclasses: a dict or list cannot have slots from two bases
    else:
        _base: Any
        _covered: bool
        _whole: bool
        _filled: bool
        _blind: bool  # no method was called since it was handed out: perhaps C code has read it
        _suspect: bool  # it was handed out once without a call of a method
        _since: int  # the count of changes of the view since when C code may have read it
        _places: ChangedPlaces
        _drafted: bool  # it is covered, and each container in it is a draft
        _old: Any
        _tested: dict[Any, None]  # the keys that were read
        _children: dict[Any, DraftPart]  # by the key of the old value

    def _begin(self, base: Any, covered: bool) -> None:
        self._base = base
        self._covered = covered
        self._whole = self._suspect = self._drafted = self._blind = False
        self._tested = {}
        self._children = {}
        self._filled = covered or len(base) <= FILLED_MAX
        if covered:
            self._old = base  # which is private already
        elif self._filled:
            self._fill()

    # -- what dict and list do differently -------------------------------------------------------

    def _fill(self) -> None:
        """Put all current values into the storage, and all old ones into `_old`."""
        raise NotImplementedError

    def _old_items(self) -> Iterable[tuple[Any, Any]]:
        raise NotImplementedError

    def _now(self, key: Any) -> Any:
        """The current value at a key of the old value, or None."""
        raise NotImplementedError

    def _set_now(self, key: Any, value: Any) -> None:
        raise NotImplementedError

    def _old_value(self) -> Any:
        """The whole old value, in plain containers; the part is covered."""
        raise NotImplementedError

    def _is_written_by_others(self) -> bool:
        """Whether the storage differs from what the methods have made of it."""
        raise NotImplementedError

    def _operations(self, path: Parts) -> list[Operation]:
        raise NotImplementedError

    def _make_drafts(self) -> None:
        """Make each container of the object in the storage a draft."""
        raise NotImplementedError

    def _deep(self, memo: dict[int, Any]) -> Any:
        """An independent plain copy of the current value; it is tested as a whole."""
        raise NotImplementedError

    # -- reading ---------------------------------------------------------------------------------

    def _read_all(self) -> None:
        """Fill the storage if it is not, and test all that was or will be read by methods."""
        if not self._filled:
            self._fill()
            self._filled = True

    def _cover(self) -> None:
        """Test the whole old value from now on, because a method is called."""
        self._blind = False
        self._test_whole()

    def _test_whole(self) -> None:
        """Test the whole old value from now on; C code may have read the part before."""
        if not self._covered:
            self._capture()
            self._whole = True

    def _capture(self) -> None:
        """Make the old values private, so that they no longer change."""
        if self._covered:
            return
        self._read_all()
        with hold_guard(self._base):
            for key, old in list(self._old_items()):
                if not is_container(old):
                    continue
                child = self._children.get(key)
                if child is not None:
                    child._capture()
                    continue
                private = to_plain(old)
                if self._now(key) is old:
                    self._set_now(key, private)
                self._old[key] = private
        self._covered = True

    def _cover_with_drafts(self) -> None:
        """Test the whole old value, and make each container in it a draft to hand out."""
        self._cover()
        if not self._drafted:
            self._make_drafts()
            self._drafted = True

    def _content(self) -> Any:
        """The current value, to be read at once: its inner containers are not copied."""
        self._test_whole()
        return self._shallow_copy()

    def _shallow_copy(self) -> Any:
        raise NotImplementedError

    def _child(self, key: Any) -> DraftPart:
        """The draft of the old container at a key; made if there is none."""
        child = self._children.get(key)
        if child is None:
            old = self._old[key]
            child = self._children[key] = part_of(old, self._places, self._covered)
            if self._now(key) is old:
                self._set_now(key, child)
        return child

    def _retire(self, key: Any) -> None:
        """Test the whole old value at a key, because it leaves its place."""
        if self._covered:
            return
        old = self._old[key]
        if is_container(old) and (self._now(key) is old or key in self._children):
            self._child(key)._cover()

    # -- the patch -------------------------------------------------------------------------------

    def _changes(self, path: Parts) -> list[Operation]:
        if not self._covered and self._is_written_by_others():
            self._test_whole()
        return self._operations(path)

    def _inner_changes(self, key: Any, now: Any, path: Parts) -> list[Operation]:
        """Return the operations for a key of the old value that has kept its place."""
        old = self._old[key]
        if now is old:
            return []
        inner_path = (*path, token_of(key))
        child = self._children.get(key)
        if child is not None and now is child:
            return child._changes(inner_path)
        new = storable(now, inner_path)
        if identical(old if child is None else child._old_value(), new):
            return []
        return [{"op": "replace", "path": pointer_of(inner_path), "value": new}]

    def _guards(self, path: Parts) -> list[Operation]:
        if path and (self._blind or self._suspect):
            self._test_whole()
        if self._whole:
            return [{"op": "test", "path": pointer_of(path), "value": self._old_value()}]
        if self._covered:
            return []
        guards: list[Operation] = []
        is_pinned = not path  # the root stays an object
        for key in self._tested:
            inner_path = (*path, token_of(key))
            guards += self._guards_at(key, inner_path)
            is_pinned = is_pinned or (self._is_name(key) and key in self._old)
        if is_pinned:
            return guards
        kind = "object" if isinstance(self, dict) else "array"
        return [{"op": "test", "path": pointer_of(path), "type": kind}, *guards]

    def _blind_reads(self, path: Parts) -> Iterator[tuple[str, int]]:
        """The pointers of the parts inside that C code may have read, and since which change."""
        for key, child in self._children.items():
            inner_path = (*path, token_of(key))
            if child._blind or child._suspect:
                yield pointer_of(inner_path), child._since
            yield from child._blind_reads(inner_path)

    def _guards_at(self, key: Any, path: Parts) -> list[Operation]:
        if key not in self._old_keys():
            return [{"op": "test", "path": pointer_of(path), "absent": True}]
        if key in self._children:
            return self._children[key]._guards(path)
        old = self._old[key]
        if is_container(old):  # perhaps its name alone was read
            return [{"op": "test", "path": pointer_of(path), "absent": False}]
        return [{"op": "test", "path": pointer_of(path), "value": old}]

    def _is_name(self, key: Any) -> bool:
        """Whether only an object can hold a value at this key."""
        return isinstance(self, dict) and not is_digits(key)

    def _old_keys(self) -> Any:
        return self._old

    def _old_plain(self, key: Any, old: Any) -> Any:
        child = self._children.get(key)
        return old if child is None else child._old_value()

    # -- copies ----------------------------------------------------------------------------------

    def __copy__(self) -> Any:
        self._cover_with_drafts()
        return self._shallow_copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self._deep(memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        plain = self._deep({})
        return type(plain), (plain,)


def hand_out(part: DraftPart) -> DraftPart:
    """Note that a program gets a part; it may pass it to C code."""
    if part._blind:
        part._suspect = True
    elif not part._suspect:
        part._since = _NEVER if part._covered else part._places.count
    part._blind = True
    return part


def part_of(base: Any, places: ChangedPlaces, covered: bool = False) -> DraftPart:
    """Return a new draft of a container of the object."""
    kind = dict if isinstance(base, dict) else list
    part: DraftPart = kind.__new__(DraftPart._kinds[kind])
    part._places = places
    part._since = _NEVER
    part._begin(base, covered)
    return part


def reading(method: Callable[..., Any]) -> Any:
    """A method that reads, moves or removes items, but hands out none."""

    @wraps(method)
    def read(self: DraftPart, *args: Any) -> Any:
        self._cover()
        return method(self, *map(known, args))

    return read


def handing_out(method: Callable[..., Any]) -> Any:
    """A method that hands out items."""

    @wraps(method)
    def read(self: DraftPart, *args: Any, **named: Any) -> Any:
        self._cover_with_drafts()
        return method(self, *args, **named)

    return read
