"""The containers behind ``mem.data``: read-only subclasses of dict and list.

Reading one field must cost no more than in a plain dict, so ``[]``, ``get`` and ``len`` are the
inherited C methods and always show the newest state. Operations that take more than one step
(iteration, ``items``, ``==``, ``json.dumps``, ``+``, ``{**view}``) work on an atomic copy, so they
neither raise nor show half of a change while another thread applies entries.

A *live* container has a guard: a context manager that the writer holds while it applies a patch,
and that a reader holds while it copies the container. A *detached* container has no guard and never
changes.

C code can write to them all the same: ``heapq.heappush(view, x)`` and ``list.append(view, x)`` ask
no method of a subclass. So a live container notes its number of items after each change by memsync,
and the next change finds the difference (see `foreign_writes.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn, Protocol, SupportsIndex

from ..lasting import lasting
from .live_keys import LiveKeys

_ABSENT: Any = globals().get("_ABSENT") or object()  # `importlib.reload` keeps it


class Guard(Protocol):
    """A lock, or any context manager, that is held while a live container is copied.

    It must be re-entrant if its holder compares, prints or iterates live containers.
    """

    def __enter__(self) -> Any: ...

    def __exit__(self, *exc_info: Any) -> Any: ...


@lasting
class Tracked:
    """A dict or list that is read by `_content`, because its storage may be incomplete."""

    __slots__ = ()

    def _content(self) -> Any:
        """The current value; the containers in it may be tracked as well."""
        raise NotImplementedError


def _refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
    raise TypeError(
        "this is a read-only view of shared data: change it with patch({'$set': {...}}), or edit "
        "a draft of it inside 'with mem.edit() as draft:'"
    )


# Copying is one call into C, but it allocates memory. Before Python 3.12 an allocation may run the
# garbage collector, which runs finalizers, which may switch threads. A live container is therefore
# copied under its guard even if it holds no other containers.


def shallow_copy(view: dict[str, Any]) -> dict[str, Any]:
    """A shallow copy. `dict.copy` reads a class that defines ``__iter__`` key by key."""
    return dict(dict.items(view))


@lasting
class ReadOnlyDict(dict[str, Any]):
    """A read-only dict. Fields that do not clash with a dict method are attributes, too.

    >>> view = ReadOnlyDict({"foo": 1})
    >>> view.foo, view["foo"], dict(view)
    (1, 1, {'foo': 1})
    """

    __slots__ = ("_guard", "_size")
    __hash__ = None

    def __getattr__(self, name: str) -> Any:
        if name == "_guard":
            return None  # never set: a detached container
        if name == "_size":
            return len(self)
        value = _ABSENT if name[:1] == "_" else dict.get(self, name, _ABSENT)
        if value is _ABSENT:
            raise AttributeError(f"no field or method {name!r}")
        return value

    def _shallow(self) -> dict[str, Any]:
        if self._guard is None:
            return shallow_copy(self)
        with self._guard:
            return shallow_copy(self)

    def _copy_once(self, convert: Callable[[Any], Any]) -> dict[str, Any]:
        if self._guard is None:
            return self._converted(convert)
        with self._guard:
            return self._converted(convert)

    def _converted(self, convert: Callable[[Any], Any]) -> dict[str, Any]:
        copied = shallow_copy(self)
        if _CONTAINERS.isdisjoint(map(type, copied.values())):
            return copied
        return {key: convert(value) for key, value in copied.items()}

    def _plain(self) -> dict[str, Any]:
        return self._copy_once(to_plain)

    def _detached(self) -> dict[str, Any]:
        return self._copy_once(detach)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shallow())

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._shallow())

    def keys(self) -> Any:
        return LiveKeys(self)

    def values(self) -> Any:
        return self._detached().values()

    def items(self) -> Any:
        return self._detached().items()

    def copy(self) -> dict[str, Any]:
        return self._plain()

    def __copy__(self) -> dict[str, Any]:
        return self._plain()

    def __deepcopy__(self, memo: Any) -> dict[str, Any]:
        return self._plain()

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return dict, (self._plain(),)

    def __eq__(self, other: object) -> bool:
        return bool(self._plain() == _unwrap(other))

    def __ne__(self, other: object) -> bool:
        return bool(self._plain() != _unwrap(other))

    def __repr__(self) -> str:
        return repr(self._plain())

    def __or__(self, other: Any) -> Any:
        return self._plain() | _unwrap(other)

    def __ror__(self, other: Any) -> Any:
        return _unwrap(other) | self._plain()

    __setitem__ = __delitem__ = __setattr__ = __delattr__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


@lasting
class ReadOnlyList(list[Any]):
    """A read-only list.

    >>> view = ReadOnlyList(["one"])
    >>> view[0], view + ["two"]
    ('one', ['one', 'two'])
    """

    __slots__ = ("_guard", "_size")
    __hash__ = None

    def __getattr__(self, name: str) -> Any:
        if name == "_guard":
            return None
        if name == "_size":
            return len(self)
        raise AttributeError(f"no attribute {name!r}")

    def _copy_once(self, convert: Callable[[Any], Any]) -> list[Any]:
        if self._guard is None:
            return self._converted(convert)
        with self._guard:
            return self._converted(convert)

    def _converted(self, convert: Callable[[Any], Any]) -> list[Any]:
        copied = list.copy(self)
        if _CONTAINERS.isdisjoint(map(type, copied)):
            return copied
        return [convert(value) for value in copied]

    def _plain(self) -> list[Any]:
        return self._copy_once(to_plain)

    def _detached(self) -> list[Any]:
        return self._copy_once(detach)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._detached())

    def __reversed__(self) -> Iterator[Any]:
        return iter(self._detached()[::-1])

    def __contains__(self, value: object) -> bool:
        return bool(_unwrap(value) in self._plain())

    def index(self, value: Any, *bounds: Any) -> int:
        return self._plain().index(_unwrap(value), *bounds)

    def count(self, value: Any) -> int:
        return self._plain().count(_unwrap(value))

    def copy(self) -> list[Any]:
        return self._plain()

    def __copy__(self) -> list[Any]:
        return self._plain()

    def __deepcopy__(self, memo: Any) -> list[Any]:
        return self._plain()

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return list, (self._plain(),)

    def __eq__(self, other: object) -> bool:
        return bool(self._plain() == _unwrap(other))

    def __ne__(self, other: object) -> bool:
        return bool(self._plain() != _unwrap(other))

    def __lt__(self, other: Any) -> bool:
        return bool(self._plain() < _unwrap(other))

    def __le__(self, other: Any) -> bool:
        return bool(self._plain() <= _unwrap(other))

    def __gt__(self, other: Any) -> bool:
        return bool(self._plain() > _unwrap(other))

    def __ge__(self, other: Any) -> bool:
        return bool(self._plain() >= _unwrap(other))

    def __repr__(self) -> str:
        return repr(self._plain())

    def __add__(self, other: Any) -> Any:
        return self._plain() + _unwrap(other)

    def __radd__(self, other: Any) -> Any:
        return _unwrap(other) + self._plain()

    def __mul__(self, count: SupportsIndex) -> list[Any]:
        return self._plain() * count

    __rmul__ = __mul__

    __setitem__ = __delitem__ = __setattr__ = __delattr__ = __iadd__ = __imul__ = _refuse
    append = extend = insert = pop = remove = clear = sort = reverse = _refuse


_MANY = 32  # items for which it pays to look for containers first
_CONTAINERS: frozenset[type] = frozenset({dict, list, ReadOnlyDict, ReadOnlyList})


def holds_containers(value: dict[str, Any]) -> bool:
    """Whether a value of a dict is a container: one loop in C, which ends at the first."""
    return not _CONTAINERS.isdisjoint(map(type, dict.values(value)))


def containers_in(value: dict[str, Any]) -> dict[str, Any]:
    """The fields of a dict that are containers, plain or live."""
    if not holds_containers(value):
        return {}
    return {name: item for name, item in dict.items(value) if type(item) in _CONTAINERS}


def _unwrap(value: Any) -> Any:
    return value._plain() if isinstance(value, (ReadOnlyDict, ReadOnlyList)) else value


def to_plain(value: Any) -> Any:
    """Return a detached copy of a JSON value, in plain dicts and lists.

    Takes no guard: the caller holds it, or no other thread writes to `value`.

    >>> to_plain(ReadOnlyDict({"a": ReadOnlyList([1])}))
    {'a': [1]}
    """
    if isinstance(value, dict):
        if len(value) > _MANY and not holds_containers(value):
            return shallow_copy(value)
        return {
            key: to_plain(item) if isinstance(item, (dict, list)) else item
            for key, item in dict.items(value)
        }
    if isinstance(value, list):
        return [
            to_plain(item) if isinstance(item, (dict, list)) else item
            for item in list.__iter__(value)
        ]
    return value


def to_live(value: Any, guard: Guard | None) -> Any:
    """Return a copy of a JSON value in read-only containers that share `guard`."""
    if isinstance(value, dict):
        fields = ReadOnlyDict(value if type(value) is dict else dict.items(value))
        for key, item in dict.items(value):
            if isinstance(item, (dict, list)):
                dict.__setitem__(fields, key, to_live(item, guard))
        _set_dict_guard(fields, guard)
        _set_dict_size(fields, len(fields))
        return fields
    if isinstance(value, list):
        items = ReadOnlyList(_live_items(list.__iter__(value), guard))
        _set_list_guard(items, guard)
        _set_list_size(items, len(items))
        return items
    return value


def _live_items(items: Iterable[Any], guard: Guard | None) -> list[Any]:
    return [to_live(item, guard) if isinstance(item, (dict, list)) else item for item in items]


def _setters(kind: type) -> tuple[Callable[[Any, Any], None], ...]:
    return vars(kind)["_guard"].__set__, vars(kind)["_size"].__set__


# They bypass __setattr__, which refuses.
_set_dict_guard, _set_dict_size = _setters(ReadOnlyDict)
_set_list_guard, _set_list_size = _setters(ReadOnlyList)
LIVE: frozenset[type] = frozenset({ReadOnlyDict, ReadOnlyList})


def note_size(container: Any) -> None:
    """Note the number of items of a live container, after a change by memsync."""
    kind = type(container)
    if kind is ReadOnlyDict:
        _set_dict_size(container, len(container))
    elif kind is ReadOnlyList:
        _set_list_size(container, len(container))


def is_touched(container: Any) -> bool:
    """Whether code other than memsync's has added items to a live container, or removed some."""
    return type(container) in LIVE and len(container) != container._size


def detach(value: Any) -> Any:
    """Return a read-only copy that later entries do not change."""
    return to_live(value, None)


def make_live(value: dict[str, Any], guard: Guard | None) -> ReadOnlyDict:
    """Return a read-only copy of `value` whose writer holds `guard` while it applies patches.

    >>> make_live({"a": {"b": 1}}, None).a.b
    1
    """
    live: ReadOnlyDict = to_live(value, guard)
    return live
