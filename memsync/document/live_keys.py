"""What ``mem.data.keys()`` returns, and why ``dict(mem.data)`` is an atomic copy.

CPython copies a dict of a class with its own ``__iter__`` key by key: ``dict(view)``, ``{**view}``
and ``call(**view)`` call ``view.keys()``, make a list of the result, and get each item from the
view. All of this is C but for the Python code behind ``keys()``. So the list must be made by C
code, after the last bytecode. Then no other thread runs before the last item has been read, and
all items are of one moment. (Before CPython 3.12 the garbage collector may run a finalizer in
between.)

The moment must not lie within a change. So the iterator waits for the guard immediately before the
list is made, also in C. It does not keep the guard, because it may never be used up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, KeysView
from itertools import chain
from operator import itemgetter
from types import MappingProxyType
from typing import Any

_LAST = itemgetter(-1)
_NOTHING = (None,)


class LiveKeys(KeysView[str]):
    """The keys of a live dict: each use of them is atomic, and shows the keys of that moment."""

    __slots__ = ()
    _mapping: Any  # the live dict, as `KeysView` keeps it

    def __iter__(self) -> Iterator[str]:
        """The keys as they are when the first one is asked for."""
        view = self._mapping
        len(view)  # what C reads below has no hook (see `inherited`)
        keys: Any = map(list, (dict.keys(view),))
        guard = view._guard
        if guard is not None:
            # All in C: no bytecode may run when the first key is asked for.
            kind = type(guard)
            begin = map(kind.__enter__, (guard,))
            end = map(kind.__exit__, (guard,), _NOTHING, _NOTHING, _NOTHING)
            keys = map(_LAST, zip(begin, end, keys, strict=False))
        return chain.from_iterable(keys)

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self))

    def __repr__(self) -> str:
        return repr(_now(self))

    @property
    def mapping(self) -> MappingProxyType[str, Any]:
        """The live dict, as a read-only mapping."""
        return MappingProxyType(self._mapping)


_Keys: Any = type({}.keys())


def _now(keys: Any) -> Any:
    """The keys of this moment; anything else as it is."""
    return dict.fromkeys(keys).keys() if type(keys) is LiveKeys else keys


def _of_a_moment(name: str) -> Callable[[Any, Any], Any]:
    operator = getattr(_Keys, name)

    def method(self: Any, other: Any) -> Any:
        return operator(_now(self), _now(other))

    method.__name__ = name
    return method


for _name in (
    *("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "isdisjoint"),
    *("__and__", "__or__", "__sub__", "__xor__", "__rand__", "__ror__", "__rsub__", "__rxor__"),
):
    setattr(LiveKeys, _name, _of_a_moment(_name))
