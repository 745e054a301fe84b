"""Resolution of update paths: where a path leads, and how to create what is missing there."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..failures import failure
from ..operations import Operation
from ..order import OBJECT, described, rank, type_name
from ..patch.overlay import ShadowArray, ShadowObject, is_array, is_object, plain
from ..paths import MAX_PADDING, Parts, array_index, pointer_of
from ..sizes import OPERATION_BYTES, estimated_size
from ..traversal import MISSING

# If the nulls outnumber the elements by more than this, the array is replaced, provided that is
# shorter. The index then has at least two digits, which `UpdatePath.ambiguous` relies on.
REWRITE_PADDING = 16


class Resolved(NamedTuple):
    """How far a path leads: to `node` along `tokens`; the parts in `rest` do not exist.

    `in_array` says whether `node` is an array element, `through_array` whether the path enters an
    array.
    """

    node: Any
    tokens: Parts
    rest: Parts
    in_array: bool
    through_array: bool

    @property
    def exists(self) -> bool:
        return not self.rest


def resolve(root: Any, parts: Parts) -> Resolved:
    """Follow an update path through objects, and through arrays by index."""
    node = root
    tokens: list[str] = []
    in_array = through_array = False
    for part in parts:
        if isinstance(node, ShadowObject):
            value, in_array = node.get(part), False
        elif isinstance(node, dict):
            value, in_array = dict.get(node, part, MISSING), False
        elif is_array(node):
            through_array = in_array = True
            index = array_index(part)
            inside = index is not None and index < len(node)
            value = _element(node, index) if inside else MISSING
            part = str(index)  # without leading zeros
        else:
            value = MISSING
        if value is MISSING:
            break
        node = value
        tokens.append(part)
    return Resolved(node, tuple(tokens), parts[len(tokens) :], in_array, through_array)


def _element(array: Any, index: Any) -> Any:
    return array.get(index) if isinstance(array, ShadowArray) else array[index]


def require_viable(resolved: Resolved, name: str, path: str) -> None:
    """Raise unless the missing place could exist: in an object, or past the end of an array.

    Operators that ignore a missing place still refuse a path through a scalar.
    """
    if is_object(resolved.node) or (
        is_array(resolved.node) and array_index(resolved.rest[0]) is not None
    ):
        return
    raise failure(
        "path_not_viable",
        f"{name}: {resolved.rest[0]!r} of {path!r} cannot lie in {_described(resolved)}",
        path,
    )


def _described(resolved: Resolved) -> str:
    value = plain(resolved.node)
    where = repr(".".join(resolved.tokens)) if resolved.tokens else "the document"
    return f"{where}, which is {described(value) if rank(value) < OBJECT else type_name(value)}"


def create(resolved: Resolved, path: str, value: Any) -> list[Operation]:
    """Return the operations that add `value` and its missing parents. Raises `UpdateError`."""
    first, *below = resolved.rest
    for name in reversed(below):
        value = {name: value}
    if is_object(resolved.node):
        return [{"op": "add", "path": pointer_of((*resolved.tokens, first)), "value": value}]
    index = array_index(first)
    if not is_array(resolved.node) or index is None:
        raise failure(
            "path_not_viable",
            f"cannot create field {first!r} of {path!r} in {_described(resolved)}",
            path,
        )
    return _append(resolved, path, index, value)


def _append(resolved: Resolved, path: str, index: int, value: Any) -> list[Operation]:
    """Return the operations that set an element past the end of an array; nulls fill the gap."""
    length = len(resolved.node)
    padding = index - length
    if padding > MAX_PADDING:
        raise failure(
            "bad_value",
            f"{path!r} would fill {padding} elements with null, {MAX_PADDING} are allowed",
            path,
            code=34,
        )
    pointer = pointer_of(resolved.tokens)
    if padding > REWRITE_PADDING + length and _is_shorter(
        resolved.node, padding * (OPERATION_BYTES + len(pointer))
    ):
        filled = [*plain(resolved.node), *[None] * padding, value]
        return [{"op": "replace", "path": pointer, "value": filled}]
    values = [None] * padding + [value]
    return [
        {"op": "add", "path": f"{pointer}/{length + offset}", "value": item}
        for offset, item in enumerate(values)
    ]


def _is_shorter(array: Any, operations: int) -> bool:
    """Whether replacing an array takes fewer bytes than `operations` bytes of operations."""
    elements = array.base if isinstance(array, ShadowArray) else array
    return estimated_size(list.__iter__(elements), operations) < operations
