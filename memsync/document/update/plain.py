"""Updates of the usual form, without a plan: plain names that lead through objects.

Most updates name a few fields, or a thousand at once, that lie in existing objects. Checking and
compiling these needs no parsed paths. The result is that of the general way, which handles all
other updates and reports all errors.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from ...errors import MemSyncError
from ..failures import ForeignValueError
from ..operations import Operation
from ..paths import are_plain, field_order
from ..traversal import MISSING
from ..values import normalize
from .operators import UNCHANGED, Absent, Context, prepare_value
from .plan import OPERATORS, RENAME
from .write import PLAIN_TYPES, write_operations


def is_plain(update: Any) -> bool:
    """Whether all operators are known, all paths are plain, and none is or contains another one."""
    if type(update) is not dict or not update:
        return False
    for name, fields in update.items():
        if type(fields) is not dict or name not in _OPERATORS or not are_plain(fields):
            return False
    return len(update) == len(fields) == 1 or _are_apart(list(update.values()))


# The destination of $rename is a path as well.
_OPERATORS = OPERATORS.keys() - {RENAME.name}


def _are_apart(groups: list[dict[str, Any]]) -> bool:
    paths = set(groups[0]).union(*groups[1:])
    above = {""}
    for path in paths:
        if "." in path:
            parent = path.rpartition(".")[0]
            while parent not in above:
                above.add(parent)
                parent = parent.rpartition(".")[0]
    return len(paths) == sum(map(len, groups)) and above.isdisjoint(paths)


def checked_plain(update: Any) -> dict[str, Any] | None:
    """Return a detached copy of a plain update, None if it is another one. Raises `UpdateError`."""
    if type(update) is not dict:
        return None
    # Another thread may change the original during the check.
    copy = {
        name: dict(fields) if type(fields) is dict else fields for name, fields in update.items()
    }
    if not is_plain(copy):
        return None
    for name, fields in copy.items():
        prepare = OPERATORS[name].prepare
        for path, operand in fields.items():
            checked = prepare(operand, path, path.count(".") + 1)
            if checked is not operand:
                is_copy = prepare is prepare_value
                fields[path] = checked if is_copy else normalize(operand, depth=-_WRAPPING)
    return copy


# The containers around a value in an operand: modifiers, and $each.
_WRAPPING = 2


def plain_operations(
    document: dict[str, Any], update: Any, context: Context
) -> list[Operation] | None:
    """Compile a plain update; None if it is not plain, leads elsewhere, or fails."""
    if not is_plain(update) or not isinstance(document, dict):
        return None
    try:
        return _operations(document, update, context)
    except (MemSyncError, ForeignValueError, RecursionError):
        return None


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
