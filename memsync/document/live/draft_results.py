"""`without_drafts`: what a function has made of a draft, without parts of the draft in it."""

from __future__ import annotations

import contextlib
from collections import ChainMap, deque
from collections.abc import ItemsView
from types import SimpleNamespace
from typing import Any

from .draft_part import DraftPart

_ATOMS = frozenset({type(None), bool, int, float, str, bytes})
_EMPTY: dict[Any, Any] = {}
_VIEWS: tuple[type, ...] = (type(_EMPTY.values()), type(_EMPTY.items()))
_RECORDS = frozenset({SimpleNamespace, ChainMap})
_RECORD_MARKS = ("__dataclass_fields__", "__attrs_attrs__", "__struct_fields__")
_ITERATORS: tuple[type, ...] = (
    type(iter([0])),
    type(reversed([0])),
    type(iter(_EMPTY.values())),
    type(iter(_EMPTY.items())),
    type(reversed(_EMPTY.values())),
    type(reversed(_EMPTY.items())),
)


def without_drafts(value: Any) -> Any:
    """Return `value` with an independent plain copy in the place of each part of a draft.

    Looks into dicts, lists, tuples, sets, deques, dataclasses and other records (attrs, msgspec),
    namespaces, views, iterators of dicts and lists. Of other objects, only attributes that are
    parts are replaced, those in slots too. Containers and
    objects of the program stay themselves; a tuple with a part in it is replaced. A part that
    occurs twice becomes one copy.

    >>> from memsync.document import Draft, without_drafts
    >>> draft = Draft({"jobs": [{"id": 1}]})
    >>> result = without_drafts(("first", draft.root["jobs"][0]))
    >>> result, type(result[1])
    (('first', {'id': 1}), <class 'dict'>)
    """
    return _Walk().plain(value)


class _Walk:
    """One walk through a result."""

    def __init__(self) -> None:
        self._memo: dict[int, Any] = {}  # by the id of a part: its copy
        self._visited: dict[int, Any] = {}  # keeps the objects alive, so that ids stay their own

    def plain(self, value: Any) -> Any:
        """The value without parts of a draft."""
        kind = type(value)
        if kind in _ATOMS:
            return value
        if isinstance(value, DraftPart):
            if id(value) not in self._memo:
                self._visited[id(value)] = value
                self._memo[id(value)] = value._deep(self._memo)
            return self._memo[id(value)]
        if id(value) in self._visited:
            return value
        if isinstance(value, tuple):
            return self._tuple(value)
        if kind in _VIEWS:
            return self._view(value)
        if kind in _ITERATORS:
            return iter(list(map(self.plain, value)))
        self._visited[id(value)] = value
        if isinstance(value, dict):
            self._replace(value, list(value.items()))
        elif isinstance(value, (list, deque)):
            self._replace(value, list(enumerate(value)))
        elif isinstance(value, (set, frozenset)):
            for item in value:
                self.plain(item)
        elif not isinstance(value, type):
            self._object(value)
        return value

    def _replace(self, container: Any, items: list[tuple[Any, Any]]) -> None:
        for key, item in items:
            new = self.plain(item)
            if new is not item:
                container[key] = new

    def _tuple(self, value: Any) -> Any:
        items = [self.plain(item) for item in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        make = getattr(type(value), "_make", None)  # of a named tuple
        return make(items) if make is not None else tuple(items)

    def _view(self, view: Any) -> Any:
        if isinstance(view, ItemsView):
            items: ItemsView[Any, Any] = view
            return {key: self.plain(item) for key, item in items}.items()
        return dict(enumerate(map(self.plain, view))).values()

    def _object(self, value: Any) -> None:
        """Replace parts in attributes; follow the other attributes in records only.

        An object of another class may lead anywhere.
        """
        kind = type(value)
        is_record = kind in _RECORDS or any(hasattr(kind, name) for name in _RECORD_MARKS)
        for name in [*_slots(kind), *getattr(value, "__dict__", ())]:
            old = getattr(value, name, None)
            new = self.plain(old) if is_record or isinstance(old, DraftPart) else old
            if new is not old:
                _set(value, name, new)


def _slots(kind: type) -> list[str]:
    """The names of the attributes that do not stand in the ``__dict__`` of an object."""
    names = list(getattr(kind, "__struct_fields__", ()))  # of msgspec
    for each in kind.__mro__:
        slots = vars(each).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            is_private = name.startswith("__") and not name.endswith("__")
            names.append(f"_{each.__name__.lstrip('_')}{name}" if is_private else name)
    return names


def _set(value: Any, name: str, new: Any) -> None:
    try:
        object.__setattr__(value, name, new)  # also if it is frozen
    except (AttributeError, TypeError):  # the class has a way of its own, in C
        with contextlib.suppress(AttributeError, TypeError):  # which may refuse
            setattr(value, name, new)
