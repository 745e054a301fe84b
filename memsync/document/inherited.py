"""A hook in front of each read of a live container, for a process that has inherited some.

A forked child inherits containers that no longer follow the object. Before it reads one, its own
copy of the object has to be in there. The hook must cost nothing afterwards, and the fork must not
visit every container. So `hook_reads` replaces the methods of the classes, whatever the number of
containers, and `unhook_reads` restores them. Containers that are to stay hooked meanwhile are *set
aside*: each gets a class of its own.

What C code reads past the methods is not hooked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..lasting import lasting
from .containers import LIVE, ReadOnlyDict, ReadOnlyList, note_size

_was_hooked: bool = globals().get("_is_hooked", False)
if _was_hooked:  # `importlib.reload`: what follows takes the methods as they are
    globals()["unhook_reads"]()
_before: Callable[[Any], object] = globals().get("_before", id)
_is_hooked = False


def _hooked(read: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any) -> Any:
        _before(self)
        return read(self, *args)

    return method


_field = ReadOnlyDict.__getattr__


@lasting
class InheritedDict(ReadOnlyDict):
    """A dict that is set aside."""

    __slots__ = ()
    __getitem__ = _hooked(dict.__getitem__)
    __len__ = _hooked(dict.__len__)
    __contains__ = _hooked(dict.__contains__)
    get = _hooked(dict.get)
    _shallow = _hooked(ReadOnlyDict._shallow)
    _copy_once = _hooked(ReadOnlyDict._copy_once)

    def __getattr__(self, name: str) -> Any:
        if name[:1] != "_":
            _before(self)
        return _field(self, name)


@lasting
class InheritedList(ReadOnlyList):
    """A list that is set aside."""

    __slots__ = ()
    __getitem__ = _hooked(list.__getitem__)
    __len__ = _hooked(list.__len__)
    _copy_once = _hooked(ReadOnlyList._copy_once)


_ASIDE: dict[type, type] = {ReadOnlyDict: InheritedDict, ReadOnlyList: InheritedList}
_BACK: dict[type, type] = {aside: kind for kind, aside in _ASIDE.items()}
_ORIGINALS = {kind: dict(vars(kind)) for kind in _ASIDE}
_HOOKS = {
    kind: {name: hook for name, hook in vars(aside).items() if type(hook) is type(_hooked)}
    for kind, aside in _ASIDE.items()
}
_set_class: Callable[[Any, type], None] = vars(object)["__class__"].__set__


def hook_reads(before: Callable[[Any], object]) -> None:
    """Have `before` called with the container before each read of a live container."""
    global _before, _is_hooked
    _before, _is_hooked = before, True
    for kind, hooks in _HOOKS.items():
        for name, hook in hooks.items():
            setattr(kind, name, hook)


def unhook_reads() -> None:
    """Undo `hook_reads`, except for the containers that are set aside."""
    global _is_hooked
    if not _is_hooked:
        return
    for kind, hooks in _HOOKS.items():
        for name in hooks:
            if name in _ORIGINALS[kind]:
                setattr(kind, name, _ORIGINALS[kind][name])
            elif name in vars(kind):
                delattr(kind, name)
    _is_hooked = False


def set_aside(view: Any) -> None:
    """Keep all containers in `view` hooked. May be repeated after an interrupt."""
    for container in _within(view):
        _set_class(container, _ASIDE.get(type(container), type(container)))


def take_back(view: Any) -> None:
    """Undo `set_aside`."""
    for container in _within(view):
        _set_class(container, _BACK.get(type(container), type(container)))


def note_sizes(view: Any) -> None:
    """Note the sizes of all containers in a view: a fork came in the middle of a change."""
    for container in _within(view):
        note_size(container)


def _within(view: Any) -> list[Any]:
    """All live containers in `view`, itself included, each once."""
    found, seen = [view], {id(view)}
    for container in found:  # grows meanwhile
        is_dict = isinstance(container, dict)
        inside: Iterable[Any] = dict.values(container) if is_dict else list.__iter__(container)
        for value in inside:
            if (type(value) in LIVE or type(value) in _BACK) and id(value) not in seen:
                seen.add(id(value))
                found.append(value)
    return found


if _was_hooked:
    hook_reads(_before)
