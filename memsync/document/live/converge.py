"""Bringing a live object from one set of changes to another, where both started from one state.

A writer shows its own changes at once, before the host has put them in order. When the host's
entries arrive, what is shown must become what is true plus what is still under way, and a reader
who is in the middle of it must see each field go from its old value to its final one, once. Nothing
is undone and done again, and nothing is looked at which no operation names.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import chain, islice, takewhile
from typing import Any, NamedTuple

from ..operations import Operation
from ..order import identical
from ..paths import Parts, parse_pointer
from ..traversal import MISSING
from .array_alignment import NEW, Origins, shared
from .atomic import append, in_order, splice
from .replace import converted, install, merged


def converge(
    live: dict[str, Any],
    target: dict[str, Any],
    before: list[Operation],
    arrived: list[Operation],
    after: list[Operation],
) -> None:
    """Make `live` equal to `target` in place, order of keys included; the caller holds the guard.

    There was a document from which `before` leads to `live`, and `arrived` and then `after` lead to
    `target`; they are compiled operations, one after the other. Only the places they name are
    looked at. A key in both is never missing, its value changes once, an array changes by one
    assignment; containers that stay where they are, or move within an array, are kept.

    >>> shown = {"mine": 1, "theirs": 0}  # from {"mine": 0, "theirs": 0}
    >>> mine = [{"op": "replace", "path": "/mine", "value": 1}]
    >>> theirs = [{"op": "replace", "path": "/theirs", "value": 5}]
    >>> converge(shown, {"mine": 1, "theirs": 5}, mine, theirs, mine)
    >>> shown
    {'mine': 1, 'theirs': 5}
    """
    steps = _Sides(_steps(before), _steps(chain(arrived, after)))
    if all(tokens for tokens, _ in chain(*steps)):
        _converge_object(live, target, steps, 0)
    else:
        install(live, target)


# What an operation does: the tokens of its path, and by how much the container above grows.
_Step = tuple[Parts, int]
_GROWTH = {"add": 1, "remove": -1, "replace": 0}


class _Sides(NamedTuple):
    """The steps that led to the live value, and those that led to the target."""

    live: list[_Step]
    target: list[_Step]


class _Place:
    """What was done to one value: to it as a whole, or inside of it."""

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
            # From here on an index may mean another element.
            known.clear()
        elif path in known:
            continue  # a counter, say, that is written again and again
        else:
            known.add(path)
        steps.append((parse_pointer(path), _GROWTH[kind]))
    return steps


def _note(places: dict[Any, _Place], key: Any, side: int, step: _Step, depth: int) -> None:
    place = places.get(key)
    if place is None:
        place = places[key] = _Place()
    if len(step[0]) == depth + 1:
        place.whole = True
    else:
        place.inside[side].append(step)


def _converge_value(container: Any, old: Any, new: Any, place: _Place, depth: int) -> Any:
    """What `container` shall hold instead of `old`: `old` itself where it could be changed."""
    if place.whole:
        return merged(container, old, new)
    if isinstance(old, dict):
        _converge_object(old, new, place.inside, depth)
    else:
        _converge_array(old, new, place.inside, depth)
    return old


def _converge_object(
    live: dict[str, Any], target: dict[str, Any], sides: _Sides, depth: int
) -> None:
    places: dict[str, _Place] = {}
    moved: set[str] = set()
    for side, steps in enumerate(sides):
        for step in steps:
            tokens, growth = step
            _note(places, tokens[depth], side, step, depth)
            if growth and len(tokens) == depth + 1:
                moved.add(tokens[depth])
    added = {}
    for name, place in places.items():
        old, new = dict.get(live, name, MISSING), dict.get(target, name, MISSING)
        if old is MISSING:
            if new is not MISSING:
                added[name] = converted(live, new)
        elif new is MISSING:
            dict.__delitem__(live, name)
        else:
            value = _converge_value(live, old, new, place, depth + 1)
            if value is not old:
                dict.__setitem__(live, name, value)
    if moved:
        _arrange(live, target, moved, added)


def _arrange(
    live: dict[str, Any], target: dict[str, Any], moved: set[str], added: dict[str, Any]
) -> None:
    """Give `live` the `added` fields and the order of `target`; only `moved` names can differ."""
    count = sum(map(target.__contains__, moved))
    end = list(islice(dict.__reversed__(target), count))[::-1]
    if moved.issuperset(end):
        # All others stand in order before them, in both: no need to look at those.
        shown = list(takewhile(moved.__contains__, dict.__reversed__(live)))[::-1]
        pairs = enumerate(zip(shown, end, strict=False))
        differing = (index for index, (name, other) in pairs if name != other)
        kept = next(differing, min(len(shown), len(end)))
        append(live, end[kept:], added)
    else:
        names = list(dict.keys(target))
        append(live, names[in_order(live, names) :], added)


def _converge_array(live: list[Any], target: list[Any], sides: _Sides, depth: int) -> None:
    size = len(live) - sum(growth for tokens, growth in sides.live if len(tokens) == depth + 1)
    places: dict[int, _Place] = {}
    origins = [_trace(size, side, steps, depth, places) for side, steps in enumerate(sides)]
    touched = sorted(places)
    edits: list[_Edit] = []
    at = place = 0
    for block in [*shared(*origins), (len(live), len(target), size, 0)]:
        left, right, origin, length = block
        if at < left or place < right:
            edits.append(_between(live, at, left, target[place:right]))
        stop = bisect_left(touched, origin + length)
        for source in touched[bisect_left(touched, origin) : stop]:
            index = left + source - origin
            old, new = live[index], target[right + source - origin]
            value = _converge_value(live, old, new, places[source], depth + 1)
            if value is not old:
                edits.append(_Edit(index, index + 1, [value]))
        at, place = left + length, right + length
    _carry_out(live, edits)


def _trace(
    size: int, side: int, steps: list[_Step], depth: int, places: dict[int, _Place]
) -> Origins:
    """What the steps leave of the array, and in `places` what they do to its elements."""
    origins = Origins(size)
    for step in steps:
        tokens, growth = step
        index = int(tokens[depth])
        if len(tokens) > depth + 1 or not growth:
            source = origins.at(index)
            # New elements are compared as a whole in any case.
            if source != NEW:
                _note(places, source, side, step, depth)
        elif growth > 0:
            origins.insert(index)
        else:
            origins.remove(index)
    return origins


class _Edit(NamedTuple):
    """Elements to put in the place of others."""

    start: int
    stop: int
    values: list[Any]


def _between(live: list[Any], start: int, stop: int, new: list[Any]) -> _Edit:
    """The edit for elements that the two arrays do not share, as far as their origin says.

    Those at either end that are equal are the same ones all the same: an element that was pushed,
    and that has now arrived.
    """
    old = list.__getitem__(live, slice(start, stop))
    limit = min(len(old), len(new))
    front = 0
    while front < limit and identical(old[front], new[front]):
        front += 1
    back = 0
    while back < limit - front and identical(old[-1 - back], new[-1 - back]):
        back += 1
    old, new = old[front : len(old) - back], new[front : len(new) - back]
    values = [merged(live, item, value) for item, value in zip(old, new, strict=False)]
    values += [converted(live, value) for value in new[len(old) :]]
    return _Edit(start + front, stop - back, values)


def _carry_out(live: list[Any], edits: list[_Edit]) -> None:
    if all(stop - start == len(values) for start, stop, values in edits):
        for edit in edits:
            splice(live, *edit)
        return
    # Elements move: what is between the edits goes along, so that all of it is one assignment.
    first = at = edits[0].start
    values: list[Any] = []
    for edit in edits:
        values += list.__getitem__(live, slice(at, edit.start))
        values += edit.values
        at = edit.stop
    splice(live, first, at, values)
