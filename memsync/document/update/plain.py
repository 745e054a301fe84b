"""Updates of the usual form, without a plan: plain names that lead through objects.

Most updates name a few fields, or a thousand at once, that lie in existing objects. Checking and
compiling these needs no parsed paths. The result is that of the general way, which handles all
other updates and reports all errors.
"""

from __future__ import annotations

from collections.abc import Collection
from operator import itemgetter
from typing import Any

from ...errors import MemSyncError
from ..failures import ForeignValueError
from ..live.run import Run, RunOperations
from ..operations import Operation
from ..paths import are_plain, common_prefix, field_order
from ..traversal import MISSING
from ..values import are_scalars, normalize
from .operators import UNCHANGED, Absent, Context, Prepare, prepare_value
from .plan import OPERATORS, RENAME, single_step
from .write import PLAIN_TYPES, write_operations


def is_plain(update: Any) -> bool:
    """Whether all operators are known, all paths are plain, and none is or contains another one."""
    if type(update) is not dict:
        return False
    shape: tuple[Any, ...] = ()
    for name, fields in update.items():
        if type(fields) is not dict:
            return False
        if len(fields) > _MAX_CACHED_PATHS:
            return _is_plain(update)
        shape = (*shape, len(fields), name, *fields)
    known = _shapes.get(shape)
    if known is None:
        known = _is_plain(update)
        if len(_shapes) >= _MAX_SHAPES:
            _shapes.clear()
        _shapes[shape] = known
    return known


# The verdicts of `is_plain`, like the cache of plans in `plan`.
_shapes: dict[tuple[Any, ...], bool] = {}
_MAX_SHAPES = 2048
_MAX_CACHED_PATHS = 32


def _is_plain(update: dict[str, Any]) -> bool:
    for name, fields in update.items():
        if type(fields) is not dict or name not in _OPERATORS or not are_plain(fields):
            return False
    return bool(update) and _are_apart(list(update.values()))


# The destination of $rename is a path as well.
_OPERATORS = OPERATORS.keys() - {RENAME.name}


def _are_apart(groups: list[dict[str, Any]]) -> bool:
    paths: Collection[str] = groups[0]
    if len(groups) > 1:
        paths = set(paths).union(*groups[1:])
        if len(paths) != sum(map(len, groups)):
            return False
    if "." not in "".join(paths):
        return True
    above = {""}
    for path in paths:
        if "." in path:
            parent = path.rpartition(".")[0]
            while parent not in above:
                above.add(parent)
                parent = parent.rpartition(".")[0]
    return above.isdisjoint(paths)


def checked_plain(update: Any) -> dict[str, Any] | None:
    """Return a detached copy of a plain update, None if it is another one. Raises `UpdateError`."""
    if type(update) is not dict:
        return None
    step = single_step(update)
    if step is not None:
        operand = update[step.name][step.path]
        return {step.name: {step.path: _checked(step.prepare, operand, step.path, step.depth)}}
    # Another thread may change the original during the check.
    copy = {
        name: dict(fields) if type(fields) is dict else fields for name, fields in update.items()
    }
    if not is_plain(copy):
        return None
    for name, fields in copy.items():
        prepare = OPERATORS[name].prepare
        is_wide = len(fields) > _MAX_CACHED_PATHS
        if is_wide and prepare is prepare_value and are_scalars(fields.values()):
            continue
        for path, operand in fields.items():
            if type(path) is not str:
                return None  # equal to the name in a known shape
            checked = _checked(prepare, operand, path, path.count(".") + 1)
            if checked is not operand:
                fields[path] = checked
    return copy


def _checked(prepare: Prepare, operand: Any, path: str, depth: int) -> Any:
    """Check an operand and return a detached copy of it."""
    prepared = prepare(operand, path, depth)
    if prepared is operand or prepare is prepare_value:
        return prepared
    # The prepared form is not the operand itself, whose values have been checked by now.
    return normalize(operand, depth=-_WRAPPING)


# The containers around a value in an operand: modifiers, and $each.
_WRAPPING = 2


def plain_operations(
    document: dict[str, Any], update: Any, context: Context
) -> list[Operation] | None:
    """Compile a plain update; None if it is not plain, leads elsewhere, or fails."""
    if not is_plain(update) or not isinstance(document, dict):
        return None
    try:
        if len(update) == 1 and len(update.get("$set", ())) > _MAX_CACHED_PATHS:
            operations = _additions(document, update["$set"])
            if operations is not None:
                return operations
        return _operations(document, update, context)
    except (MemSyncError, ForeignValueError, RecursionError):
        return None


def _additions(document: dict[str, Any], fields: dict[str, Any]) -> list[Operation] | None:
    """Compile a ``$set`` that adds many fields to one object; None if it does anything else."""
    prefix = common_prefix(fields, ".")
    container = None if prefix is None else _object_at(document, prefix[:-1])
    if prefix is None or container is None:
        return None
    named = {path[len(prefix) :]: value for path, value in fields.items()} if prefix else fields
    if not dict.keys(container).isdisjoint(named):
        return None
    if not are_scalars(named.values()):
        depth = prefix.count(".") + 1
        named = {name: prepare_value(value, prefix + name, depth) for name, value in named.items()}
    names = sorted(named)
    if names[0][0] <= "9":
        names.sort(key=field_order)
    if names != list(named):
        named = {name: named[name] for name in names}
    pointer = f"/{prefix.replace('.', '/')}"
    operations: list[Operation] = [
        {"op": "add", "path": pointer + name, "value": value} for name, value in named.items()
    ]
    return RunOperations(operations, Run(tuple(prefix.split(".")[:-1]), named, []))


def _operations(
    document: dict[str, Any], update: dict[str, dict[str, Any]], context: Context
) -> list[Operation] | None:
    operations: list[Operation] = []
    added: list[Operation] = []
    has_number = False
    above, container, pointer, depth = "", document, "/", 1
    for name, fields in update.items():
        _, prepare, change, absent = OPERATORS[name]
        for path, operand in fields.items():
            parent, _, last = path.rpartition(".")
            if parent != above:
                inner = _object_at(document, parent)
                if inner is None:
                    return None
                above, container, depth = parent, inner, path.count(".") + 1
                pointer = f"/{parent.replace('.', '/')}/" if parent else "/"
            value = prepare(operand, path, depth)
            current = _get(container, last, MISSING)
            if current is MISSING and absent is not _CREATES:
                continue
            new = change(current, value, path, context)
            if new is UNCHANGED:
                continue
            if current is MISSING:
                added.append({"op": "add", "path": pointer + last, "value": new})
                has_number = has_number or last[0] <= "9"
            elif type(new) in PLAIN_TYPES:
                operations.append({"op": "replace", "path": pointer + last, "value": new})
            else:
                operations += write_operations(pointer + last, current, new, False)
    if len(added) > 1:
        # Fields are added in the server's order.
        added.sort(key=_number_order if has_number else _path_of)
    return operations + added if added else operations


# `container[name]` could run the code of a subclass and add keys to a defaultdict.
_get = dict.get
_path_of = itemgetter("path")
_CREATES = Absent.CREATES


def _number_order(operation: Operation) -> Any:
    above, _, name = operation["path"].rpartition("/")
    return above, field_order(name)


def _object_at(document: dict[str, Any], path: str) -> dict[str, Any] | None:
    """Return the object at a path that leads through objects only."""
    node: Any = document
    for name in path.split(".") if path else ():
        if not isinstance(node, dict):
            return None
        node = _get(node, name)
    return node if isinstance(node, dict) else None
