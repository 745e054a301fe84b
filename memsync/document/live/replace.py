"""In-place replacement of a live object's content, after a snapshot or a write to the root.

Containers that keep their type also keep their identity, so references that programs hold into
``mem.data`` continue to show the newest state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..containers import (
    LIVE,
    ReadOnlyDict,
    ReadOnlyList,
    is_touched,
    note_size,
    to_live,
    to_plain,
)
from ..order import SCALAR_TYPES, identical
from .atomic import append_fields, assign_slice, count_in_order

_LEAVES = LIVE | SCALAR_TYPES


def replace_content(root: dict[str, Any], state: dict[str, Any]) -> None:
    """Make `root` equal to `state`, including key order; the caller holds the guard.

    A key in both is never missing for a reader, not even while it moves to another position. Nested
    containers that keep their type keep their identity, in arrays element by element. An array
    changes by one assignment.

    >>> document = {"gone": 0, "a": {"n": 1}}
    >>> replace_content(document, {"a": {"n": 2}, "b": 3})
    >>> document
    {'a': {'n': 2}, 'b': 3}
    """
    put = _taken_over(root)
    if [*dict.keys(root)] == [*dict.keys(state)]:  # mostly, and then it is faster
        for name, value in dict.items(state):
            old = dict.__getitem__(root, name)
            new = put(root, old, value)
            if new is not old:
                dict.__setitem__(root, name, new)
        note_size(root)
        return
    for name in [name for name in dict.keys(root) if name not in state]:
        dict.__delitem__(root, name)
    values = {name: put(root, dict.get(root, name), value) for name, value in dict.items(state)}
    names = list(values)
    kept = count_in_order(root, names)
    for name in names[:kept]:
        if values[name] is not dict.__getitem__(root, name):
            dict.__setitem__(root, name, values[name])
    if kept < len(names):
        append_fields(root, names[kept:], values)
    note_size(root)


def _replace_items(array: list[Any], state: list[Any]) -> None:
    common, put = min(len(array), len(state)), _taken_over(array)
    values = [put(array, array[index], list.__getitem__(state, index)) for index in range(common)]
    values += [converted(array, value) for value in state[common:]]
    assign_slice(array, 0, len(array), values)
    note_size(array)


def _taken_over(container: Any) -> Callable[[Any, Any, Any], Any]:
    """How a container keeps what is in it: not at all if other code may have put it there."""
    return _converted_anew if is_touched(container) else merged


def _converted_anew(container: Any, old: Any, new: Any) -> Any:
    return converted(container, new)


def merged(container: Any, old: Any, new: Any) -> Any:
    """Return what `container` must hold in place of `old`: `old` itself if it changed in place."""
    if type(container) in LIVE and type(old) not in _LEAVES:
        return converted(container, new)  # other code has put it there
    if isinstance(old, dict) and isinstance(new, dict):
        replace_content(old, new)
        return old
    if isinstance(old, list) and isinstance(new, list):
        _replace_items(old, new)
        return old
    return old if identical(old, new) else converted(container, new)


def converted(container: Any, value: Any) -> Any:
    """Return a copy of `value` to store in `container`: live under its guard, or plain."""
    if isinstance(container, (ReadOnlyDict, ReadOnlyList)):
        return to_live(value, container._guard)
    return to_plain(value)
