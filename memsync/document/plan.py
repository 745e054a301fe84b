"""What an update means, worked out once: its steps, checked, in the server's order.

A `Plan` depends on the shape of an update (operators and paths), not on its operands, so that the
same kind of update again and again is parsed only once. Paths are inserted into a trie, as in the
server, where two that are equal or contain one another meet (error 40), before anything is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from memsync.document.array_operators import ARRAY_OPERATORS
from memsync.document.failures import failure
from memsync.document.operators import VALUE_OPERATORS, Operator, Place
from memsync.document.order import type_name
from memsync.document.paths import (
    Parts,
    field_order,
    is_digits,
    is_filtered,
    parse_path,
    pointer_of,
    processing_order,
)
from memsync.document.values import check_field_name, normalize


def _prepare_rename(operand: Any, place: Place) -> Any:
    """The path to rename to; whether it can be one is checked together with the source."""
    return normalize(operand, place.path)


def _never(*_: Any) -> Any:
    raise AssertionError("$rename moves a value, it does not compute one")


RENAME = Operator("$rename", _prepare_rename, _never)

OPERATORS = {operator.name: operator for operator in (*VALUE_OPERATORS, *ARRAY_OPERATORS, RENAME)}


class Step:
    """One operator at one path; for ``$rename`` the path is the destination."""

    # fmt: off
    __slots__ = (
        "change", "depth", "field", "last", "name", "operator", "parents", "parts", "path",
        "pointer", "prepare",
    )
    # fmt: on

    def __init__(self, operator: Operator, path: str, parts: Parts, field: str) -> None:
        self.operator = operator
        self.name = operator.name
        self.prepare = operator.prepare
        self.change = operator.change
        self.path = path
        self.parts = parts
        self.field = field  # the operand is update[operator.name][field]
        self.parents = parts[:-1]
        self.last = parts[-1]
        self.depth = len(parts)
        self.pointer = pointer_of(parts)

    def at(self, parts: Parts) -> Step:
        """The same operator at a concrete path, one that a dynamic path stands for."""
        return Step(self.operator, ".".join(parts), parts, self.field)


class Node:
    """A place in the trie: either a step ends here, or paths go on to `children`.

    `filtered` says of an inner node whether its children are ``$[]`` and ``$[id]``.
    """

    __slots__ = ("children", "filtered", "step")

    def __init__(self, step: Step | None, filtered: bool = False) -> None:
        self.step = step
        self.filtered = filtered
        self.children: dict[str, Node] = {}

    def ordered(self) -> Iterator[tuple[str, Node]]:
        """The children in the order in which the server processes them."""
        names = sorted(self.children, key=self._sort_key)
        return ((name, self.children[name]) for name in names)

    def _sort_key(self, name: str) -> Any:
        return field_order(name[2:-1] if self.filtered else name)


class Plan:
    """The steps of an update: `given` as written, `steps` in the server's order.

    `dynamic` says that paths depend on the document (``$``, ``$[]``); then `root` is walked instead
    of `steps`. `ambiguous` says that two paths may mean one place because of leading zeros.
    """

    __slots__ = ("ambiguous", "dynamic", "given", "identifiers", "order", "root", "steps")

    def __init__(self) -> None:
        self.given: list[Step] = []
        self.root = Node(None)
        self.identifiers: set[str] = set()
        self.dynamic = False
        self.ambiguous = False

    def finish(self) -> None:
        """Sort the steps, after all have been added."""
        order = sorted(
            (index for index, _ in enumerate(self.given)),
            key=lambda index: processing_order(self.given[index].parts),
        )
        self.order = order
        self.steps = [self.given[index] for index in order]
        for step in self.given:
            if step.parts[0].startswith("$"):
                raise failure(
                    "dollar_prefixed",
                    f"the field name {step.parts[0]!r} in {step.path!r} starts with '$'",
                    step.path,
                )

    def insert(self, step: Step | None, path: str, parts: Parts) -> None:
        """Put a path into the trie. Raises where it meets another one."""
        node = self.root
        for position, part in enumerate(parts[:-1]):
            child = node.children.get(part)
            filtered = is_filtered(parts[position + 1])
            if child is None:
                child = node.children[part] = Node(None, filtered)
            elif child.filtered != filtered or not child.children:
                raise _conflict(path, ".".join(parts[: position + 1]))
            node = child
        if parts[-1] in node.children:
            raise _conflict(path, path)
        node.children[parts[-1]] = Node(step)

    def note(self, parts: Parts) -> None:
        """Remember what a path needs to know of the document."""
        for part in parts:
            if part[0] == "$" and (part == "$" or is_filtered(part)):
                self.dynamic = True
                if part not in ("$", "$[]"):
                    self.identifiers.add(part[2:-1])
            elif part[0] == "0" and len(part) > 1 and is_digits(part):
                self.ambiguous = True


def _conflict(path: str, place: str) -> Exception:
    return failure("path_conflict", f"updating {path!r} would create a conflict at {place!r}", path)


# Whether a filter for the identifier has been given.
Known = Callable[[str], bool]


def build_plan(update: dict[str, Any], known: Known) -> Plan:
    """Parse an update completely, operands included. Raises `UpdateError`."""
    plan = Plan()
    for name, fields in _operations(update):
        for field, operand in dict.items(fields):
            check_field_name(field, name)
            if name == RENAME.name:
                _add_rename(plan, field, operand, known)
            else:
                _add_step(plan, OPERATORS[name], field, operand, known)
    plan.finish()
    return plan


def _operations(update: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if not any(isinstance(name, str) and name.startswith("$") for name in dict.keys(update)):
        raise failure(
            "unknown_operator",
            "an update consists of operators: to set fields write {'$set': {...}}; replacing the "
            "whole document is not an update",
        )
    for name, fields in dict.items(update):
        if name not in OPERATORS:
            raise failure(
                "unknown_operator",
                f"unknown update operator {name!r:.60}; known are {', '.join(sorted(OPERATORS))}",
            )
        if not isinstance(fields, dict):
            found = type_name(normalize(fields, name))
            raise failure(
                "bad_operand",
                f"{name} needs an object of fields, {{{name!r}: {{'field': ...}}}}, not {found}",
            )
        yield name, fields


def _add_step(plan: Plan, operator: Operator, field: str, operand: Any, known: Known) -> None:
    parts = parse_path(field)
    step = Step(operator, field, parts, field)
    operator.prepare(operand, step)
    _check_identifiers(field, parts, known)
    plan.insert(step, field, parts)
    plan.note(parts)
    plan.given.append(step)


def _add_rename(plan: Plan, field: str, operand: Any, known: Known) -> None:
    source = parse_path(field)
    _check_identifiers(field, source, known)
    plan.insert(None, field, source)
    target = normalize(operand, field)
    if not isinstance(target, str):
        raise failure(
            "bad_value", f"$rename: {field!r} needs a path, not {type_name(target)}", field
        )
    parts = parse_path(target)
    _check_rename(field, source, target, parts)
    step = Step(RENAME, target, parts, field)
    plan.insert(step, target, parts)
    plan.note(source)
    plan.note(parts)
    plan.given.append(step)
    if source[0].startswith("$"):
        raise failure("dollar_prefixed", f"the field name {source[0]!r} starts with '$'", field)


def _check_rename(field: str, source: Parts, target: str, parts: Parts) -> None:
    if source == parts:
        raise failure("bad_value", f"$rename: {field!r} is renamed to itself", field)
    if source == parts[: len(source)] or parts == source[: len(parts)]:
        raise failure(
            "bad_value", f"$rename: {field!r} and {target!r} lie within one another", field
        )
    for path, path_parts in ((field, source), (target, parts)):
        if any(part == "$" or is_filtered(part) for part in path_parts):
            raise failure(
                "bad_value", f"$rename: {path!r} cannot depend on the elements of an array", field
            )


def _check_identifiers(path: str, parts: Parts, known: Known) -> None:
    for part in parts:
        if is_filtered(part) and part != "$[]" and not known(part[2:-1]):
            raise failure(
                "array_filters",
                f"no array filter for the identifier {part[2:-1]!r} in {path!r}: pass "
                f"array_filters=[{{{part[2:-1]!r}: ...}}]",
                path,
            )


# Plans by shape. A program has few shapes; one that makes paths of data just fills it anew.
_plans: dict[Any, Plan] = {}
_MAX_PLANS = 2048
_MAX_CACHED_STEPS = 32


def plan_for(update: dict[str, Any], known: Collection[str], fresh: bool = False) -> Plan:
    """The plan of an update, from the cache when its shape is known. Raises `UpdateError`.

    `known` are the identifiers of the array filters. A `fresh` plan has all operands checked.
    """
    plan = shape = None
    if not fresh:
        try:
            # The type tells an object of fields from a string of the same letters.
            shape = tuple([(name, type(fields), *fields) for name, fields in dict.items(update)])
            plan = _plans.get(shape)
        except TypeError:
            pass  # an operand that is no object, a field name that is no string: refused below
    if plan is None or not plan.identifiers.issubset(known):
        plan = build_plan(update, known.__contains__)
        if shape is not None:
            _remember(shape, plan)
    if len(known) > len(plan.identifiers):
        unused = ", ".join(map(repr, sorted(set(known) - plan.identifiers)))
        raise failure(
            "array_filters", f"array filters that the update does not use: {unused}", code=9
        )
    return plan


def _remember(shape: Any, plan: Plan) -> None:
    # Where $rename goes to is in its operand, so its plan is more than its shape.
    if len(plan.given) > _MAX_CACHED_STEPS or any(step.operator is RENAME for step in plan.given):
        return
    if len(_plans) >= _MAX_PLANS:
        _plans.clear()
    _plans[shape] = plan
