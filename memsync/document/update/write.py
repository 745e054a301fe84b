"""The operations that write a new value, or change an array, at an existing place."""

from __future__ import annotations

from typing import Any

from ..operations import Operation
from ..patch.array_diff import array_operations, patch_size, splice_operations
from ..sizes import OPERATION_BYTES, estimated_size
from ..values import detached
from .operators import REMOVED, Rearranged, Splice

# The types of new values; other types describe a change.
PLAIN_TYPES = frozenset({type(None), bool, int, float, str, dict, list})


def write_operations(pointer: str, current: Any, new: Any, in_array: bool) -> list[Operation]:
    """Return the operations that write a new value, or change an array, at an existing place."""
    kind = type(new)
    if kind is Splice:
        return _splice(pointer, current, new)
    if kind is Rearranged:
        return _rearrange(pointer, current, new.values)
    if new is not REMOVED:
        return [{"op": "replace", "path": pointer, "value": new}]
    if not in_array:
        return [{"op": "remove", "path": pointer}]
    # Removing an element would move the others. Like the server, leave a null.
    return [] if current is None else [{"op": "replace", "path": pointer, "value": None}]


def _splice(pointer: str, array: list[Any], splice: Splice) -> list[Operation]:
    if 2 * len(splice.removed) > len(array) and len(splice.removed) > 1:
        # More is removed than stays: a replacement is shorter unless the rest is large.
        gone = set(splice.removed)
        kept = [item for index, item in enumerate(list.__iter__(array)) if index not in gone]
        removals = len(splice.removed) * (OPERATION_BYTES + len(pointer))
        if estimated_size(kept, removals) < removals:
            kept[splice.at : splice.at] = splice.values
            return [{"op": "replace", "path": pointer, "value": detached(kept)}]
    return splice_operations(pointer, splice.removed, splice.at, splice.values)


def _rearrange(pointer: str, array: list[Any], values: list[Any]) -> list[Operation]:
    operations = array_operations(pointer, list.copy(array), values)
    if len(operations) > 1 and 2 * len(operations) > len(values):
        size = patch_size(operations)
        if OPERATION_BYTES + len(pointer) + estimated_size(values, size) < size:
            return [{"op": "replace", "path": pointer, "value": detached(values)}]
    for operation in operations:
        if "value" in operation:
            operation["value"] = detached(operation["value"])
    return operations
