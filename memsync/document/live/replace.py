"""In-place replacement of a live object's content, after a snapshot or a write to the root.

Containers that keep their type also keep their identity, so references that programs hold into
``mem.data`` continue to show the newest state.
"""

from __future__ import annotations

from typing import Any

from ..containers import ReadOnlyDict, ReadOnlyList, to_live, to_plain
from ..order import identical
from .atomic import append_fields, assign_slice, count_in_order


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
    for name in [name for name in dict.keys(root) if name not in state]:
        dict.__delitem__(root, name)
    values = {name: merged(root, dict.get(root, name), value) for name, value in dict.items(state)}
    names = list(values)
    kept = count_in_order(root, names)
    for name in names[:kept]:
        if values[name] is not dict.__getitem__(root, name):
            dict.__setitem__(root, name, values[name])
    if kept < len(names):
        append_fields(root, names[kept:], values)


def _replace_items(array: list[Any], state: list[Any]) -> None:
    common = min(len(array), len(state))
    values = [
        merged(array, array[index], list.__getitem__(state, index)) for index in range(common)
    ]
    values += [converted(array, value) for value in state[common:]]
    assign_slice(array, 0, len(array), values)


def merged(container: Any, old: Any, new: Any) -> Any:
    """Return what `container` must hold in place of `old`: `old` itself if it changed in place."""
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
