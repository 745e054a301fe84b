"""The containers behind ``mem.data``: a real dict and a real list that refuse to be written.

Reading one field must cost what it costs in a plain dict, so ``[]``, ``get`` and ``len`` are the
inherited C methods and always show the newest state. Everything that takes more than one step
(iteration, ``items``, ``==``, ``repr``, ``json.dumps``, ``+``) works on a copy made in one go, so
that it neither raises nor shows half of a change while another thread applies entries.

A *live* container has a guard, a context manager which the writer holds while it applies a patch;
a copy of nested containers is made while holding it. A *detached* one has none and never changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn, Protocol, SupportsIndex

_ABSENT: Any = object()


class Guard(Protocol):
    """What a live container holds while it is copied, a lock for example.

    It must be re-entrant if its holder compares, prints or iterates live containers.
    """

    def __enter__(self) -> Any: ...

    def __exit__(self, *exc_info: Any) -> Any: ...


def _refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
    raise TypeError(
        "this is a read-only view of shared data: change it with patch({'$set': {...}}), or edit "
        "a draft of it inside 'with mem.edit() as draft:'"
    )


# Copying is one call into C, but it allocates memory, which before Python 3.12 may run the garbage
# collector, the code of anyone's finalizers, and so other threads. A live container is therefore
# copied under its guard, a flat one too.


def _copy(view: dict[str, Any]) -> dict[str, Any]:
    """A shallow copy. `dict.copy` will not do: it asks a class that has ``__iter__`` key by key."""
    return dict(dict.items(view))


class ReadOnlyDict(dict[str, Any]):
    """A read-only dict; fields that are no dict methods can be read as attributes.

    >>> view = ReadOnlyDict({"foo": 1})
    >>> view.foo, view["foo"], dict(view)
    (1, 1, {'foo': 1})
    """

    __slots__ = ("_guard",)
    __hash__ = None

    def __getattr__(self, name: str) -> Any:
        if name == "_guard":
            return None  # never given: a detached container
        value = _ABSENT if name[:1] == "_" else dict.get(self, name, _ABSENT)
        if value is _ABSENT:
            raise AttributeError(f"no field or method {name!r}")
        return value

    def _shallow(self) -> dict[str, Any]:
        if self._guard is None:
            return _copy(self)
        with self._guard:
            return _copy(self)

    def _copy_once(self, convert: Callable[[Any], Any]) -> dict[str, Any]:
        if self._guard is None:
            return self._converted(convert)
        with self._guard:
            return self._converted(convert)

    def _converted(self, convert: Callable[[Any], Any]) -> dict[str, Any]:
        copied = _copy(self)
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
        return self._shallow().keys()

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


class ReadOnlyList(list[Any]):
    """A read-only list.

    >>> view = ReadOnlyList(["one"])
    >>> view[0], view + ["two"]
    ('one', ['one', 'two'])
    """

    __slots__ = ("_guard",)
    __hash__ = None

    def __getattr__(self, name: str) -> Any:
        if name == "_guard":
            return None
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


_CONTAINERS: frozenset[type] = frozenset({dict, list, ReadOnlyDict, ReadOnlyList})


def _unwrap(value: Any) -> Any:
    return value._plain() if isinstance(value, (ReadOnlyDict, ReadOnlyList)) else value


def to_plain(value: Any) -> Any:
    """A detached copy of a JSON value, in plain dicts and lists.

    Takes no guard: the caller holds it, or nobody writes to `value`.

    >>> to_plain(ReadOnlyDict({"a": ReadOnlyList([1])}))
    {'a': [1]}
    """
    if isinstance(value, dict):
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
    """A copy of a JSON value in read-only containers that share `guard`."""
    if isinstance(value, dict):
        fields = {
            key: to_live(item, guard) if isinstance(item, (dict, list)) else item
            for key, item in dict.items(value)
        }
        return _guarded(ReadOnlyDict(fields), guard)
    if isinstance(value, list):
        return _guarded(ReadOnlyList(_live_items(list.__iter__(value), guard)), guard)
    return value


def _live_items(items: Iterable[Any], guard: Guard | None) -> list[Any]:
    return [to_live(item, guard) if isinstance(item, (dict, list)) else item for item in items]


def _guarded(container: Any, guard: Guard | None) -> Any:
    # Past __setattr__, which refuses: this is the one place where a guard is given.
    object.__setattr__(container, "_guard", guard)
    return container


def detach(value: Any) -> Any:
    """A read-only copy that no entry changes any more."""
    return to_live(value, None)


def make_live(value: dict[str, Any], guard: Guard | None) -> ReadOnlyDict:
    """A read-only copy of `value` whose writer holds `guard` while it applies patches.

    >>> make_live({"a": {"b": 1}}, None).a.b
    1
    """
    live: ReadOnlyDict = to_live(value, guard)
    return live
