"""Replay: apply compiled operations to a live object, in place.

The cost depends on the size of the patch, not of the object. Replay is all or nothing: several
operations are tried on an overlay before the first of them is applied, so a reader never sees a
rollback.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ...errors import UpdateError
from ..containers import LIVE, note_size
from ..failures import brief, patch_failure
from ..foreign_writes import ForeignWriteError
from ..operations import Operation
from ..order import SCALAR_TYPES
from ..patch.dry_run import DryRun
from ..patch.overlay import ShadowObject
from ..paths import above, pointer_index, split
from ..traversal import MISSING
from .old_values import OldValues
from .replace import replace_content
from .run import as_held, descend, run_in

_KINDS = ("replace", "add", "remove")


def replay(root: Any, operations: list[Operation], *, fit: bool = False) -> None:
    """Apply ``add``, ``remove`` and ``replace`` operations to `root`, in place.

    In a live `ReadOnlyDict` the values become live containers under its guard, which the caller
    holds. A plain dict gets plain copies. Raises `UpdateError` if an operation cannot be applied,
    and leaves `root` unchanged. With `fit` the caller guarantees that all operations fit, because
    they were just compiled against `root` or an equal document, and the check is skipped.

    >>> document = {"a": {"n": 1}}
    >>> replay(document, [{"op": "replace", "path": "/a/n", "value": 2}])
    >>> document
    {'a': {'n': 2}}
    """
    if len(operations) > 1:
        if (run := run_in(root, operations)) is not None:
            run.write(root)
            return
        if not fit and not _each_fits(root, operations):
            _replay_checked(root, operations)
            return
    for operation in operations:
        write(root, operation)


def in_parts(operations: list[Operation], root: Any) -> list[list[Operation]]:
    """Divide operations into parts, each of which changes one container of `root` in one step."""
    if len(operations) > 1 and run_in(root, operations) is None:
        return [[operation] for operation in operations]
    return [operations] if operations else []


def _each_fits(root: Any, operations: list[Operation]) -> bool:
    """Whether the operations are independent of each other and each of them fits.

    Most updates pass this check and so avoid the overlay, which copies the arrays they change.
    Several operations may insert and remove elements of one array, unless one of them changes the
    inside of an element.
    """
    lengths: dict[str, int] = {}  # the future length of arrays that gain or lose elements
    direct: Counter[str] = Counter()  # the number of operations on elements of an array
    named: set[str] = set()
    passed: Counter[str] = Counter()  # the number of operations that lead through a place
    for operation in operations:
        try:
            kind, pointer = operation["op"], operation["path"]
            parents, last = split(pointer)
            complete = kind == "remove" or ("value" in operation and kind in _KINDS)
        except (KeyError, TypeError, UpdateError):
            return False  # the dry run raises the error
        container = descend(root, parents)
        if not complete or last is None or pointer in named:
            return False
        if isinstance(container, dict):
            if kind != "add" and last not in container:
                return False
            named.add(pointer)
        elif isinstance(container, list):
            array = pointer[: pointer.rindex("/")]
            length = lengths.get(array, len(container))
            index = length if last == "-" and kind == "add" else pointer_index(last)
            if index is None or index > length - (kind != "add"):
                return False
            direct[array] += 1
            if kind == "replace":
                named.add(pointer)
            else:
                lengths[array] = length + (1 if kind == "add" else -1)
        else:
            return False
        passed.update(above(pointer))
    return named.isdisjoint(passed) and all(passed[array] == direct[array] for array in lengths)


def check_fit(root: Any, operations: list[Operation]) -> None:
    """Raise `UpdateError` if `replay` would."""
    if len(operations) > 1 and not _each_fits(root, operations):
        _converted_values(root, operations)


def _replay_checked(root: Any, operations: list[Operation]) -> None:
    """Try all operations on an overlay, then apply them."""
    values = _converted_values(root, operations)
    for operation, value in zip(operations, values, strict=True):
        write(root, operation, value)


def _converted_values(root: Any, operations: list[Operation]) -> list[Any]:
    """Try all operations on an overlay, and return their values as `root` is to hold them."""
    dry_run = DryRun(root)
    values = []
    for operation in operations:
        _check(operation)
        dry_run.apply(operation)
        if isinstance(root, dict) and not isinstance(dry_run.root, (dict, ShadowObject)):
            raise patch_failure("bad_value", "the document must stay an object", "")
        values.append(as_held(root, operation.get("value")))
    return values


def _check(operation: Any) -> None:
    """Check what `DryRun` assumes, and that the operation is of a kind that can be replayed."""
    try:
        split(operation["path"])
        complete = operation["op"] == "remove" or "value" in operation
        if complete and operation["op"] in _KINDS:
            return
    except (KeyError, TypeError):
        pass
    raise _malformed(operation)


def _malformed(operation: Any) -> UpdateError:
    return patch_failure("bad_operand", f"no operation that can be replayed: {brief(operation)}")


_UNKNOWN: Any = globals().get("_UNKNOWN") or object()  # `importlib.reload` keeps it


def write(
    root: Any,
    operation: Operation,
    converted: Any = _UNKNOWN,
    node: Any = None,
    olds: OldValues | None = None,
) -> Any:
    """Apply one operation, or raise and change nothing; returns the container that it changed.

    `converted` is the value as `root` is to hold it, if that is known, and `node` the container to
    which the parents of the path lead. `olds` gets what is replaced. Raises `ForeignWriteError` if
    other code than memsync's has changed that container.
    """
    try:
        kind, pointer = operation["op"], operation["path"]
        value = None if kind == "remove" else operation["value"]
        parents, last = split(pointer)
    except (KeyError, TypeError):
        raise _malformed(operation) from None
    if kind not in _KINDS:
        raise _malformed(operation)
    if converted is not _UNKNOWN:
        value = converted
    elif type(value) not in SCALAR_TYPES:
        value = as_held(root, value)
    if node is None:
        node = root
        try:
            for token in parents:
                node = _get(node, token)
        except TypeError:
            # The path leads through an array or a scalar, which `descend` handles.
            node = descend(root, parents)
    is_live = type(node) in LIVE
    if is_live and len(node) != node._size:
        raise ForeignWriteError
    if last is None:
        if olds is not None:
            olds.append_whole(root)
        _write_root(root, kind, value)
        node = root
    elif isinstance(node, dict):
        if kind != "add" and last not in node:
            raise _impossible(pointer)
        if kind == "remove":
            if olds is not None:
                olds.append_removed(node, last)
            dict.__delitem__(node, last)
        elif olds is not None:
            olds.append(_get(node, last, MISSING))
            dict.__setitem__(node, last, value)
        else:
            dict.__setitem__(node, last, value)
    elif isinstance(node, list):
        _write_element(node, kind, last, value, pointer, olds)
    else:
        raise _impossible(pointer)
    if is_live and kind != "replace":
        note_size(node)
    return node


# `node[token]` could run the code of a subclass.
_get = dict.get


def _write_root(root: Any, kind: str, value: Any) -> None:
    if kind == "remove" or not isinstance(value, dict):
        raise patch_failure("bad_value", "the document must stay an object", "")
    replace_content(root, value)


def _write_element(
    array: list[Any], kind: str, token: str, value: Any, pointer: str, olds: OldValues | None
) -> None:
    index = len(array) if token == "-" and kind == "add" else pointer_index(token)
    if index is None or index > len(array) or (kind != "add" and index == len(array)):
        raise _impossible(pointer)
    if olds is not None:
        olds.append(MISSING if kind == "add" else list.__getitem__(array, index))
    if kind == "add":
        list.insert(array, index, value)
    elif kind == "replace":
        list.__setitem__(array, index, value)
    else:
        list.__delitem__(array, index)


def _impossible(pointer: str) -> UpdateError:
    return patch_failure("path_not_viable", f"nothing can be replayed at {pointer!r}", pointer)
