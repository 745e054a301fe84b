"""The update compiler: MongoDB's operators and a document in, RFC 6902 operations out.

Each step is computed against the document. Usually its path leads through objects to an existing
value. Its operations are then final, because no other step of the update can change the same place.
Steps that create something may depend on each other (a common parent, the end of an array), so they
are tried on an overlay one after the other, and the result is the net difference.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..failures import ForeignValueError, failure
from ..live.replay import replay
from ..operations import Operation
from ..patch.dry_run import DryRun
from ..patch.overlay import is_shadow, plain
from ..paths import parse_path, pointer_of
from ..query.array_filters import Filters, parse_array_filters
from ..traversal import MISSING
from ..values import explain_foreign, normalize
from .operators import UNCHANGED, Absent, Context
from .plain import checked_plain, plain_operations
from .plan import RENAME, Step, build_plan, plan_for, planned, single_step
from .positional import expand
from .resolve import create, require_viable, resolve
from .write import PLAIN_TYPES, write_operations


def compile_update(
    document: dict[str, Any],
    update: dict[str, Any],
    *,
    array_filters: list[dict[str, Any]] | None = None,
    filter: dict[str, Any] | None = None,
    now: Any = None,
    insert: bool = False,
    is_json: bool = False,
) -> list[Operation]:
    """Compile an update to RFC 6902 operations for a document, which does not change.

    `array_filters` selects the elements for ``$[id]``. `filter` is the query that resolves the
    positional ``$``. `now` is an aware datetime for ``$currentDate``, needed only if that operator
    is evaluated. `insert` enables ``$setOnInsert``. With `is_json` the caller knows that the
    document holds only JSON values, so that no operator has to look at all of them. Semantics are
    those of MongoDB 8.

    The operations hold detached values; ``[]`` means that nothing changes.

    Raises `UpdateError` (``kind``, ``path``, ``server_code``), `NotSerializableError` for values
    that JSON cannot hold, and `UsageError` if `now` is needed but missing.

    >>> compile_update({"a": {"n": 1}}, {"$inc": {"a.n": 2}})
    [{'op': 'replace', 'path': '/a/n', 'value': 3}]
    """
    if insert or now is not None:
        context = Context(now, insert, is_json)
    else:
        context = _JSON_CONTEXT if is_json else _NO_CONTEXT
    if array_filters is None:
        step = single_step(update)
        if step is not None:
            return _single_operations(document, update, step, context)
        operations = plain_operations(document, update, context)
        if operations is not None:
            return operations
    return planned_operations(document, update, array_filters, filter, context)


def planned_operations(
    document: dict[str, Any],
    update: dict[str, Any],
    array_filters: list[dict[str, Any]] | None,
    filter: dict[str, Any] | None,
    context: Context,
) -> list[Operation]:
    """Compile any update by its plan, as `compile_update` does."""
    filters = _NO_FILTERS if array_filters is None else parse_array_filters(array_filters)
    plan, operands = planned(update, filters)
    try:
        if operands is None:
            # Check all operands before the first step reads the document.
            operands = [step.operand(update) for step in plan.given]
        if plan.dynamic:
            # Each place gets its own copy of the value.
            expanded = expand(plan, document, filters, filter)
            steps = ((step, step.operand(update)) for step in expanded)
        else:
            steps = ((plan.given[index], operands[index]) for index in plan.order)
        return _compile(document, steps, context, plan.ambiguous)
    except (ForeignValueError, RecursionError):
        explain_foreign(document)
        raise


_NO_FILTERS: Filters = {}
_NO_CONTEXT = Context(None, False)
_JSON_CONTEXT = Context(None, False, is_json=True)


def _compile(
    document: Any, steps: Iterable[tuple[Step, Any]], context: Context, ambiguous: bool
) -> list[Operation]:
    final: list[Operation] = []
    dry_run = DryRun(document)
    for step, operand in steps:
        direct = None
        if not ambiguous and step.operator is not RENAME:
            direct = _direct_operations(document, step, operand, context)
        if direct is not None:
            final += direct
            continue
        operations, independent = resolved_operations(dry_run.root, step, operand, context)
        if independent and not ambiguous:
            final += operations
        else:
            for operation in operations:
                dry_run.apply(operation)
    return final + dry_run.operations() if dry_run.root is not document else final


def apply_update(
    document: dict[str, Any],
    update: dict[str, Any],
    *,
    array_filters: list[dict[str, Any]] | None = None,
    filter: dict[str, Any] | None = None,
    now: Any = None,
    insert: bool = False,
) -> dict[str, Any]:
    """Return a new document with the update applied; `document` itself does not change.

    Arguments and errors are those of `compile_update`.

    >>> apply_update({"a": [1]}, {"$push": {"a": 2}})
    {'a': [1, 2]}
    """
    result: dict[str, Any] = normalize(document)
    operations = compile_update(
        result, update, array_filters=array_filters, filter=filter, now=now, insert=insert
    )
    replay(result, operations)
    return result


def check_update(
    update: dict[str, Any], array_filters: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Return a detached copy of `update` if some document could accept it.

    This checks everything that does not depend on the document: operators, operands, paths,
    conflicts between paths, and values. Identifiers are compared with `array_filters` only if that
    is given. Raises what `compile_update` would raise.

    >>> check_update({"$inc": {"n": 1}})
    {'$inc': {'n': 1}}
    """
    checked = None if array_filters else checked_plain(update)
    return checked_by_plan(update, array_filters) if checked is None else checked


def checked_by_plan(
    update: dict[str, Any], array_filters: list[dict[str, Any]] | None
) -> dict[str, Any]:
    """Check any update, as `check_update` does."""
    if array_filters is None:
        build_plan(update, lambda identifier: True)
    else:
        filters = parse_array_filters(array_filters)
        plan_for(update, filters)
        # Also checks the operands, which `plan_for` may skip.
        build_plan(update, filters.__contains__)
    # Each value has been checked at its depth in the document; this call only copies.
    checked: dict[str, Any] = normalize(update, depth=-_WRAPPING)
    return checked


# The containers around a value in an update: operators, fields, modifiers, and $each.
_WRAPPING = 4


def _single_operations(
    document: dict[str, Any], update: dict[str, Any], step: Step, context: Context
) -> list[Operation]:
    """Compile an update that consists of one step."""
    operand = step.operand(update)
    try:
        operations = _direct_operations(document, step, operand, context, is_only=True)
        if operations is None:
            operations, _ = resolved_operations(document, step, operand, context)
        return operations
    except (ForeignValueError, RecursionError):
        explain_foreign(document)
        raise


def _direct_operations(
    document: Any, step: Step, operand: Any, context: Context, is_only: bool = False
) -> list[Operation] | None:
    """Return the operations of a step whose path leads through objects to a value, else None.

    No other step of the same update can affect them. The only step may also add a field.
    """
    node = document
    try:
        for part in step.parents:
            node = _get(node, part)
        current = _get(node, step.last, MISSING)
    except TypeError:
        return None  # a parent is missing, or is an array or a scalar
    if current is MISSING:
        if not is_only:
            return None
        if step.operator.absent is not Absent.CREATES:
            return []
    new = step.change(current, operand, step.path, context)
    if type(new) in PLAIN_TYPES:
        kind = "add" if current is MISSING else "replace"
        return [{"op": kind, "path": step.pointer, "value": new}]
    return [] if new is UNCHANGED else write_operations(step.pointer, current, new, False)


# `node[part]` could run the code of a subclass and add keys to a defaultdict.
_get = dict.get


def resolved_operations(
    root: Any, step: Step, operand: Any, context: Context
) -> tuple[list[Operation], bool]:
    """Return the operations of any step, and whether they are independent of all other steps.

    `root` is the document after the previous steps, possibly a shadow.
    """
    if step.operator is RENAME:
        return _rename(root, step, context), False
    resolved = resolve(root, step.parts)
    if resolved.exists:
        current = plain(resolved.node) if is_shadow(resolved.node) else resolved.node
        new = step.change(current, operand, step.path, context)
        if new is UNCHANGED:
            return [], True
        return write_operations(pointer_of(resolved.tokens), current, new, resolved.in_array), True
    absent = step.operator.absent
    if absent is Absent.CREATES:
        new = step.change(MISSING, operand, step.path, context)
        return ([] if new is UNCHANGED else create(resolved, step.path, new)), False
    if absent is Absent.IGNORES_IF_POSSIBLE:
        require_viable(resolved, step.name, step.path)
    return [], True


def _rename(root: Any, step: Step, context: Context) -> list[Operation]:
    source = resolve(root, parse_path(step.field).parts)
    if not source.exists:
        require_viable(source, "$rename", step.field)
        return []
    target = resolve(root, step.parts)
    for resolved, path in ((source, step.field), (target, step.path)):
        if resolved.through_array:
            raise failure(
                "bad_value", f"$rename: {path!r} leads through an array, which it must not", path
            )
    value = normalize(plain(source.node), step.path, step.depth)
    taken = {"op": "remove", "path": pointer_of(source.tokens)}
    if not target.exists:
        return [*create(target, step.path, value), taken]
    if step.change(plain(target.node), value, step.path, context) is UNCHANGED:
        return [taken]
    return [{"op": "replace", "path": pointer_of(target.tokens), "value": value}, taken]
