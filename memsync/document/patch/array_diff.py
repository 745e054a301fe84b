"""The operations that turn one array into another, as short as some cheap rules can make them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..operations import Operation
from ..order import identical
from ..sizes import OPERATION_BYTES, estimated_size


def _itself(item: Any) -> Any:
    return item


def splice_operations(
    pointer: str, removed: Sequence[int], at: int, values: Sequence[Any]
) -> list[Operation]:
    """Return operations that remove indexes, the last one first, then insert `values` at `at`."""
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
    base_of: Callable[[Any], Any] = _itself,
) -> list[Operation]:
    """Return operations that turn `old` into `new`, both starting at index `offset` of the array.

    An item may stand for an element that was changed inside; `base_of` returns that element.
    """
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
        operations = _overwrites(pointer, old, new, first, same)
    elif len(old) > len(new):
        operations = _removals(pointer, old, new, first, same)
    else:
        operations = _insertions(pointer, old, new, first, same)
    if len(operations) > 1 and any(operation["op"] == "replace" for operation in operations):
        keeping = _keep_heaviest(pointer, old, new, first, same, base_of)
        if patch_size(keeping, base_of) < patch_size(operations, base_of):
            return keeping
    return operations


# Patches of more bytes are not compared any further.
_MAX_COMPARED = 1 << 20
# The maximum weight of one element in the choice of the elements that stay.
_MAX_WEIGHT = 1 << 14


def patch_size(
    operations: Sequence[Operation],
    base_of: Callable[[Any], Any] = _itself,
    limit: int = _MAX_COMPARED,
) -> int:
    """Estimate how many bytes operations take as JSON."""
    size = sum(OPERATION_BYTES + len(operation["path"]) for operation in operations)
    values = (base_of(operation["value"]) for operation in operations if "value" in operation)
    return size + estimated_size(values, _MAX_COMPARED)


def _keep_heaviest(
    pointer: str,
    old: Sequence[Any],
    new: Sequence[Any],
    first: int,
    same: Callable[[Any, Any], bool],
    base_of: Callable[[Any], Any],
) -> list[Operation]:
    """Keep the heaviest common subsequence in place and change the elements in between."""
    operations: list[Operation] = []
    old_at = new_at = 0
    for old_stop, new_stop in [*_heaviest_common(old, new, base_of), (len(old), len(new))]:
        common = min(old_stop - old_at, new_stop - new_at)
        operations += _overwrites(
            pointer,
            old[old_at : old_at + common],
            new[new_at : new_at + common],
            first + new_at,
            same,
        )
        behind = new_at + common
        surplus = range(old_stop - old_at - common - 1, -1, -1)
        operations += [
            {"op": "remove", "path": f"{pointer}/{first + behind + index}"} for index in surplus
        ]
        operations += [
            {"op": "add", "path": f"{pointer}/{first + index}", "value": new[index]}
            for index in range(behind, new_stop)
        ]
        old_at, new_at = old_stop + 1, new_stop + 1
    return operations


def _heaviest_common(
    old: Sequence[Any], new: Sequence[Any], base_of: Callable[[Any], Any]
) -> list[tuple[int, int]]:
    """Return the heaviest common subsequence, as pairs of positions in `old` and `new`."""
    positions: dict[int, list[int]] = {}
    for position in range(len(old) - 1, -1, -1):
        positions.setdefault(id(base_of(old[position])), []).append(position)
    # A Fenwick tree over the positions in `old` holds the best sequence up to each of them.
    tree: list[_Chain] = [_EMPTY] * (len(old) + 1)
    for index, item in enumerate(new):
        known = positions.get(id(base_of(item)))
        if not known:
            continue
        position = known.pop()
        before = _best(tree, position)
        weight = OPERATION_BYTES + estimated_size((base_of(item),), _MAX_WEIGHT)
        chain = (before[0] + weight, (position, index), before)
        node = position + 1
        while node <= len(old):
            if tree[node][0] < chain[0]:
                tree[node] = chain
            node += node & -node
    pairs = []
    chain = _best(tree, len(old))
    while chain is not _EMPTY:
        pairs.append(chain[1])
        chain = chain[2]
    return pairs[::-1]


# The weight of a sequence, its last pair of positions, and the sequence before it.
_Chain = tuple[int, tuple[int, int], Any]
_EMPTY: _Chain = (0, (-1, -1), None)


def _best(tree: Sequence[_Chain], node: int) -> _Chain:
    """The heaviest sequence that ends before the position `node`."""
    best = _EMPTY
    while node > 0:
        if tree[node][0] > best[0]:
            best = tree[node]
        node -= node & -node
    return best


def _overwrites(
    pointer: str,
    old: Sequence[Any],
    new: Sequence[Any],
    first: int,
    same: Callable[[Any, Any], bool],
) -> list[Operation]:
    return [
        {"op": "replace", "path": f"{pointer}/{first + index}", "value": value}
        for index, value in enumerate(new)
        if not same(old[index], value)
    ]


def _removals(
    pointer: str,
    old: Sequence[Any],
    new: Sequence[Any],
    first: int,
    same: Callable[[Any, Any], bool],
) -> list[Operation]:
    """Remove elements that are not in `new`; if that is not enough, overwrite the rest."""
    kept = _matching(new, old, lambda value, other: same(other, value))
    if kept is None:
        removed = range(len(old) - 1, len(new) - 1, -1)
        return [
            *({"op": "remove", "path": f"{pointer}/{first + index}"} for index in removed),
            *_overwrites(pointer, old[: len(new)], new, first, same),
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
    """Insert elements that are not in `old`; if that is not enough, overwrite and append."""
    kept = _matching(old, new, same)
    if kept is None:
        overwritten = _overwrites(pointer, old, new[: len(old)], first, same)
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
    """Return the indexes at which `short` is a subsequence of `long`, or None."""
    indexes: list[int] = []
    index = 0
    for item in short:
        while index < len(long) and not same(item, long[index]):
            index += 1
        if index == len(long):
            return None
        indexes.append(index)
        index += 1
    return indexes
