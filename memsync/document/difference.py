"""The operations that turn one array into another: as few as the cheap rules here find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from memsync.document.order import identical

Operation = dict[str, Any]


def splice_operations(
    pointer: str, removed: Sequence[int], at: int, values: Sequence[Any]
) -> list[Operation]:
    """Operations that take out `removed` indexes, the last first, then put `values` in at `at`."""
    operations: list[Operation] = [
        {"op": "remove", "path": f"{pointer}/{index}"} for index in removed
    ]
    for offset, value in enumerate(values):
        operations.append({"op": "add", "path": f"{pointer}/{at + offset}", "value": value})
    return operations


def array_operations(
    pointer: str,
    old: Sequence[Any],
    new: Sequence[Any],
    offset: int = 0,
    same: Callable[[Any, Any], bool] = identical,
) -> list[Operation]:
    """Operations that turn `old` into `new`, both starting at index `offset` of the array."""
    start = 0
    while start < len(old) and start < len(new) and same(old[start], new[start]):
        start += 1
    end = 0
    limit = min(len(old), len(new)) - start
    while end < limit and same(old[-1 - end], new[-1 - end]):
        end += 1
    old, new = old[start : len(old) - end], new[start : len(new) - end]
    first = offset + start
    if len(old) == len(new):
        return [
            {"op": "replace", "path": f"{pointer}/{first + index}", "value": value}
            for index, value in enumerate(new)
            if not same(old[index], value)
        ]
    if len(old) > len(new):
        return _removals(pointer, old, new, first, same)
    return _insertions(pointer, old, new, first, same)


def _removals(
    pointer: str,
    old: Sequence[Any],
    new: Sequence[Any],
    first: int,
    same: Callable[[Any, Any], bool],
) -> list[Operation]:
    """Leave out what is not in `new`; where that is not enough, overwrite what is left."""
    kept = _matching(new, old, lambda value, other: same(other, value))
    if kept is None:
        removed = range(len(old) - 1, len(new) - 1, -1)
        overwritten = [
            {"op": "replace", "path": f"{pointer}/{first + index}", "value": value}
            for index, value in enumerate(new)
            if not same(old[index], value)
        ]
        return [
            *({"op": "remove", "path": f"{pointer}/{first + index}"} for index in removed),
            *overwritten,
        ]
    gone = sorted(set(range(len(old))) - set(kept), reverse=True)
    return [{"op": "remove", "path": f"{pointer}/{first + index}"} for index in gone]


def _insertions(
    pointer: str,
    old: Sequence[Any],
    new: Sequence[Any],
    first: int,
    same: Callable[[Any, Any], bool],
) -> list[Operation]:
    """Put in what is not in `old`; where that is not enough, overwrite and append."""
    kept = _matching(old, new, same)
    if kept is None:
        overwritten = [
            {"op": "replace", "path": f"{pointer}/{first + index}", "value": new[index]}
            for index, value in enumerate(old)
            if not same(value, new[index])
        ]
        return overwritten + [
            {"op": "add", "path": f"{pointer}/{first + index}", "value": new[index]}
            for index in range(len(old), len(new))
        ]
    known = set(kept)
    return [
        {"op": "add", "path": f"{pointer}/{first + index}", "value": value}
        for index, value in enumerate(new)
        if index not in known
    ]


def _matching(
    short: Sequence[Any], long: Sequence[Any], same: Callable[[Any, Any], bool]
) -> list[int] | None:
    """Indexes in `long` at which the items of `short` follow one another, or None."""
    found: list[int] = []
    index = 0
    for item in short:
        while index < len(long) and not same(item, long[index]):
            index += 1
        if index == len(long):
            return None
        found.append(index)
        index += 1
    return found
