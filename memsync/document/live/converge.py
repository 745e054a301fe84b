"""Convergence of an optimistic view to a new state, where both descend from a common state.

A writer shows its own changes at once, before the host has ordered them. When the host's entries
arrive, the view must become the confirmed state plus the writes that are still pending. A
concurrent reader must see each field change at most once, from its old value to its final value.
Nothing is rolled back and reapplied, and only the places that operations name are compared.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import chain, islice, takewhile
from typing import Any, NamedTuple

from ..containers import note_size
from ..foreign_writes import check_untouched
from ..operations import Operation
from ..order import identical
from ..paths import Parts, parse_pointer
from ..traversal import MISSING
from .array_alignment import NEW, Alignment, common_blocks
from .atomic import append_fields, assign_slice, count_in_order
from .replace import converted, merged, replace_content


def converge(
    view: dict[str, Any],
    target: dict[str, Any],
    before: list[Operation],
    arrived: list[Operation],
    after: list[Operation],
) -> None:
    """Make `view` equal to `target` in place, including key order; the caller holds the guard.

    The two have a common ancestor: `before` leads from it to `view`, and `arrived` followed by
    `after` leads from it to `target`. All three are lists of compiled operations. Only the places
    they name are compared. A key in both documents is never missing, its value changes at most
    once, and an array changes by one assignment. Containers that stay in their place, or move
    within an array, keep their identity.

    >>> view = {"mine": 1, "theirs": 0}  # from {"mine": 0, "theirs": 0}
    >>> mine = [{"op": "replace", "path": "/mine", "value": 1}]
    >>> theirs = [{"op": "replace", "path": "/theirs", "value": 5}]
    >>> converge(view, {"mine": 1, "theirs": 5}, mine, theirs, mine)
    >>> view
    {'mine': 1, 'theirs': 5}
    """
    steps = _Sides(_steps(before), _steps(chain(arrived, after)))
    if all(tokens for tokens, _ in chain(*steps)):
        _converge_object(view, target, steps, 0)
    else:
        replace_content(view, target)


# What an operation does: the tokens of its path, and by how much it grows the parent container.
_Step = tuple[Parts, int]
_GROWTH = {"add": 1, "remove": -1, "replace": 0}


class _Sides(NamedTuple):
    """The steps that led to the view, and those that led to the target."""

    view: list[_Step]
    target: list[_Step]


class _Changes:
    """The changes of one value: as a whole, or inside it."""

    __slots__ = ("inside", "whole")

    def __init__(self) -> None:
        self.whole = False
        self.inside = _Sides([], [])


def _steps(operations: Iterable[Operation]) -> list[_Step]:
    steps: list[_Step] = []
    known: set[str] = set()
    for operation in operations:
        path, kind = operation["path"], operation["op"]
        if kind != "replace":
            # From here on an index may name a different element.
            known.clear()
        elif path in known:
            continue  # a counter, for example, that is written repeatedly
        else:
            known.add(path)
        steps.append((parse_pointer(path), _GROWTH[kind]))
    return steps


def _record(changes: dict[Any, _Changes], key: Any, side: int, step: _Step, depth: int) -> None:
    known = changes.get(key)
    if known is None:
        known = changes[key] = _Changes()
    if len(step[0]) == depth + 1:
        known.whole = True
    else:
        known.inside[side].append(step)


def _converge_value(container: Any, old: Any, new: Any, changes: _Changes, depth: int) -> Any:
    """Return what `container` must hold in place of `old`: `old` itself if it changed in place."""
    if changes.whole:
        return merged(container, old, new)
    if isinstance(old, dict):
        _converge_object(old, new, changes.inside, depth)
    else:
        _converge_array(old, new, changes.inside, depth)
    return old


def _converge_object(
    view: dict[str, Any], target: dict[str, Any], sides: _Sides, depth: int
) -> None:
    check_untouched(view)
    changes: dict[str, _Changes] = {}
    moved: set[str] = set()
    for side, steps in enumerate(sides):
        for step in steps:
            tokens, growth = step
            _record(changes, tokens[depth], side, step, depth)
            if growth and len(tokens) == depth + 1:
                moved.add(tokens[depth])
    added = {}
    for name, change in changes.items():
        old, new = dict.get(view, name, MISSING), dict.get(target, name, MISSING)
        if old is MISSING:
            if new is not MISSING:
                added[name] = converted(view, new)
        elif new is MISSING:
            dict.__delitem__(view, name)
        else:
            value = _converge_value(view, old, new, change, depth + 1)
            if value is not old:
                dict.__setitem__(view, name, value)
    if moved:
        _arrange(view, target, moved, added)
    note_size(view)


def _arrange(
    view: dict[str, Any], target: dict[str, Any], moved: set[str], added: dict[str, Any]
) -> None:
    """Add the `added` fields to `view` and reorder its `moved` names as in `target`."""
    count = sum(map(target.__contains__, moved))
    end = list(islice(dict.__reversed__(target), count))[::-1]
    if moved.issuperset(end):
        # In both documents all other names come first, in the same order.
        present = list(takewhile(moved.__contains__, dict.__reversed__(view)))[::-1]
        pairs = enumerate(zip(present, end, strict=False))
        differing = (index for index, (name, other) in pairs if name != other)
        kept = next(differing, min(len(present), len(end)))
        append_fields(view, end[kept:], added)
    else:
        names = list(dict.keys(target))
        append_fields(view, names[count_in_order(view, names) :], added)


def _converge_array(view: list[Any], target: list[Any], sides: _Sides, depth: int) -> None:
    check_untouched(view)
    size = len(view) - sum(growth for tokens, growth in sides.view if len(tokens) == depth + 1)
    changes: dict[int, _Changes] = {}
    alignments = [_align(size, side, steps, depth, changes) for side, steps in enumerate(sides)]
    changed = sorted(changes)
    edits: list[_Edit] = []
    at = target_at = 0
    for block in [*common_blocks(*alignments), (len(view), len(target), size, 0)]:
        left, right, original, length = block
        if at < left or target_at < right:
            edits.append(_edit_between(view, at, left, target[target_at:right]))
        stop = bisect_left(changed, original + length)
        for source in changed[bisect_left(changed, original) : stop]:
            index = left + source - original
            old, new = view[index], target[right + source - original]
            value = _converge_value(view, old, new, changes[source], depth + 1)
            if value is not old:
                edits.append(_Edit(index, index + 1, [value]))
        at, target_at = left + length, right + length
    _apply_edits(view, edits)
    note_size(view)


def _align(
    size: int, side: int, steps: list[_Step], depth: int, changes: dict[int, _Changes]
) -> Alignment:
    """Align the array after the steps; collect in `changes` what they do to its elements."""
    alignment = Alignment(size)
    for step in steps:
        tokens, growth = step
        index = int(tokens[depth])
        if len(tokens) > depth + 1 or not growth:
            source = alignment.original_index(index)
            # New elements are compared as a whole anyway.
            if source != NEW:
                _record(changes, source, side, step, depth)
        elif growth > 0:
            alignment.insert(index)
        else:
            alignment.remove(index)
    return alignment


class _Edit(NamedTuple):
    """A slice and the elements that replace it."""

    start: int
    stop: int
    values: list[Any]


def _edit_between(view: list[Any], start: int, stop: int, new: list[Any]) -> _Edit:
    """Return the edit for elements that the two arrays do not share according to the alignment.

    Equal elements at either end are the same ones after all: an element that this writer pushed,
    and that has now arrived from the host.
    """
    old = list.__getitem__(view, slice(start, stop))
    limit = min(len(old), len(new))
    front = 0
    while front < limit and identical(old[front], new[front]):
        front += 1
    back = 0
    while back < limit - front and identical(old[-1 - back], new[-1 - back]):
        back += 1
    old, new = old[front : len(old) - back], new[front : len(new) - back]
    values = [merged(view, item, value) for item, value in zip(old, new, strict=False)]
    values += [converted(view, value) for value in new[len(old) :]]
    return _Edit(start + front, stop - back, values)


def _apply_edits(view: list[Any], edits: list[_Edit]) -> None:
    if all(stop - start == len(values) for start, stop, values in edits):
        for edit in edits:
            assign_slice(view, *edit)
        return
    # Elements move: the assignment includes the elements between the edits, so that it is one.
    first = at = edits[0].start
    values: list[Any] = []
    for edit in edits:
        values += list.__getitem__(view, slice(at, edit.start))
        values += edit.values
        at = edit.stop
    assign_slice(view, first, at, values)
