"""The plan of an update: its steps, parsed once, checked, and in the server's order.

A `Plan` depends on the shape of an update (operators and paths), not on its operands, so updates of
the same shape are parsed only once. As in the server, paths are inserted into a trie before
anything is applied; two paths that are equal or contain one another conflict there (error 40).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache
from typing import Any

from ..failures import brief, failure
from ..order import equal, type_name
from ..paths import (
    Parts,
    UpdatePath,
    field_order,
    is_filtered,
    parse_once,
    parse_path,
    pointer_of,
    processing_order,
)
from ..traversal import MISSING
from ..values import check_field_name, normalize
from .array_operators import ARRAY_OPERATORS
from .operators import UNCHANGED, VALUE_OPERATORS, Context, Operator


def _prepare_rename(operand: Any, path: str, depth: int) -> Any:
    """Return the path to rename to; it is checked together with the source."""
    return normalize(operand, path)


def _moved(current: Any, value: Any, path: str, context: Context) -> Any:
    """Return the new value of the destination; an equal one stays, ``1`` for ``1.0``."""
    return UNCHANGED if current is not MISSING and equal(current, value) else value


if "RENAME" not in globals():  # `importlib.reload` keeps it
    RENAME = Operator("$rename", _prepare_rename, _moved)

OPERATORS = {operator.name: operator for operator in (*VALUE_OPERATORS, *ARRAY_OPERATORS, RENAME)}


class Step:
    """One operator at one path; for ``$rename`` the path is the destination.

    The operand is ``update[name][field]``.
    """

    # fmt: off
    __slots__ = (
        "change", "depth", "field", "last", "name", "operator", "parents", "parsed", "parts",
        "path", "pointer", "prepare", "special",
    )
    # fmt: on

    def __init__(self, operator: Operator, path: str, parsed: UpdatePath, field: str) -> None:
        self.operator = operator
        self.name = operator.name
        self.prepare = operator.prepare
        self.change = operator.change
        self.path = path
        self.field = field
        self.parsed = parsed
        self.parts = parsed.parts
        self.pointer = parsed.pointer
        self.special = parsed.special
        self.parents = parsed.parts[:-1]
        self.last = parsed.parts[-1]
        self.depth = len(parsed.parts)

    def operand(self, update: dict[str, Any]) -> Any:
        """Return the prepared operand. Raises `UpdateError`."""
        return self.prepare(update[self.name][self.field], self.path, self.depth)

    def at(self, parts: Parts) -> Step:
        """Return the same operator at a concrete path that a dynamic path stands for."""
        parsed = self.parsed._replace(parts=parts, pointer=pointer_of(parts))
        return Step(self.operator, ".".join(parts), parsed, self.field)


@lru_cache(maxsize=4096)
def step_for(name: str, path: str) -> Step:
    if not isinstance(path, str):
        check_field_name(path, name)
    return Step(OPERATORS[name], path, parse_once(path), path)


def single_step(update: Any) -> Step | None:
    """Return the step of an update with one path that does not depend on the document, else None.

    Raises `UpdateError` for an invalid path.
    """
    if type(update) is not dict or len(update) != 1:
        return None
    ((name, fields),) = update.items()
    if type(fields) is not dict or len(fields) != 1 or name not in OPERATORS:
        return None
    (path,) = fields
    if type(path) is not str:
        return None
    step = step_for(name, path)
    is_given = not step.special or not (step.parsed.dynamic or path[0] == "$")
    return step if is_given and step.operator is not RENAME else None


def _has_number(step: Step) -> bool:
    return any("0" <= part[0] <= "9" for part in step.parts)


def _as_written(parts: Parts) -> Parts:
    return parts


class TrieNode:
    """A node of the trie: either a step ends here, or paths continue in `children`.

    `filtered` says whether the children of an inner node are ``$[]`` and ``$[id]`` parts.
    """

    __slots__ = ("children", "filtered", "step")

    def __init__(self, step: Step | None, filtered: bool = False) -> None:
        self.step = step
        self.filtered = filtered
        self.children: dict[str, TrieNode] = {}

    def ordered(self) -> Iterator[tuple[str, TrieNode]]:
        """Return the children in the order in which the server processes them."""
        names = sorted(self.children, key=self._sort_key)
        return ((name, self.children[name]) for name in names)

    def _sort_key(self, name: str) -> Any:
        return field_order(name[2:-1] if self.filtered else name)


class Plan:
    """The steps of an update: `given` as written, `order` their indexes in the server's order.

    If `dynamic`, paths depend on the document, and the trie at `root` replaces `order`.
    """

    # Class attributes serve as defaults, which makes plans cheap to create.
    ambiguous = False
    dynamic = False
    identifiers: frozenset[str] = frozenset()
    order: Sequence[int] = (0,)
    root: TrieNode | None = None

    def __init__(self) -> None:
        self.given: list[Step] = []
        self._first: Any = None  # path, parts and step of the first path
        self._refused: str | None = None  # the first path that starts with "$"

    def add(self, step: Step) -> None:
        """Add a step to the trie. Raises if its path conflicts with another one."""
        if self._first is None:
            # A single path cannot conflict, so the trie is built for the second one.
            self._first = step.path, step.parts, step
        else:
            self._insert(step.path, step.parts, step)
        if step.special:
            self._note(step.path, step.parsed)
        self.given.append(step)

    def add_source(self, path: str, parsed: UpdatePath) -> None:
        """Add the source path of a ``$rename`` to the trie, before the step itself."""
        if self._first is None:
            self._first = path, parsed.parts, None
        else:
            self._insert(path, parsed.parts, None)
        self._note(path, parsed)

    def _note(self, path: str, parsed: UpdatePath) -> None:
        self.dynamic = self.dynamic or parsed.dynamic
        self.identifiers = self.identifiers.union(parsed.identifiers)
        self.ambiguous = self.ambiguous or parsed.ambiguous
        if path[0] == "$" and self._refused is None:
            self._refused = path

    def finish(self) -> None:
        """Sort the steps after all have been added."""
        if self._refused is not None:
            raise failure(
                "dollar_prefixed",
                f"the first field name of {self._refused!r} starts with '$'",
                self._refused,
            )
        given = self.given
        if len(given) != 1:
            key = processing_order if any(map(_has_number, given)) else _as_written
            self.order = sorted(range(len(given)), key=lambda at: key(given[at].parts))

    def trie(self) -> TrieNode:
        """Return the trie of all paths."""
        if self.root is None:
            self.root = TrieNode(None)
            self._insert(*self._first)
        return self.root

    def _insert(self, path: str, parts: Parts, step: Step | None) -> None:
        node = self.trie()
        for position, part in enumerate(parts[:-1]):
            child = node.children.get(part)
            filtered = is_filtered(parts[position + 1])
            if child is None:
                child = node.children[part] = TrieNode(None, filtered)
            elif child.filtered != filtered or not child.children:
                raise _conflict(path, parts[: position + 1], child)
            node = child
        existing = node.children.get(parts[-1])
        if existing is not None:
            raise _conflict(path, parts, existing)
        node.children[parts[-1]] = TrieNode(step)


def _conflict(path: str, parts: Parts, existing: TrieNode) -> Exception:
    other = list(parts)
    while existing.children:
        name, existing = next(iter(existing.children.items()))
        other.append(name)
    return failure(
        "path_conflict",
        f"updating {path!r} would create a conflict at {'.'.join(parts)!r} with "
        f"{'.'.join(other)!r}: one update changes a place once, make two updates of it",
        path,
    )


# Whether there is an array filter for an identifier.
IsKnown = Callable[[str], bool]


def build_plan(update: dict[str, Any], known: IsKnown) -> tuple[Plan, list[Any]]:
    """Parse an update; return its plan and the prepared operands in the order of `Plan.given`.

    Raises `UpdateError`.
    """
    if not isinstance(update, dict):
        raise failure(
            "bad_operand", f"an update must be an object of operators, not {brief(update)}"
        )
    plan = Plan()
    operands: list[Any] = []
    for name, fields in dict.items(update):
        operator = OPERATORS.get(name)
        if operator is None:
            raise _unknown_operator(update, name)
        if not isinstance(fields, dict):
            actual = type_name(normalize(fields, name))
            raise failure(
                "bad_operand",
                f"{name} needs an object of fields, {{{name!r}: {{'field': ...}}}}, not {actual}",
            )
        for field, operand in dict.items(fields):
            if operator is RENAME:
                operands.append(_add_rename(plan, field, operand, known))
                continue
            step = step_for(name, field)
            operands.append(step.prepare(operand, step.path, step.depth))
            if step.special:
                _check_identifiers(field, step.parsed, known)
            plan.add(step)
    if not update:
        raise _unknown_operator(update, "")
    plan.finish()
    return plan, operands


def _unknown_operator(update: dict[str, Any], name: Any) -> Exception:
    if not update:
        message = (
            "the update is empty: it needs an operator, {'$set': {'field': value}} for example; "
            "replacing the whole document is not an update"
        )
    elif any(isinstance(other, str) and other[:1] == "$" for other in dict.keys(update)):
        known = ", ".join(sorted(OPERATORS))
        message = f"unknown update operator {brief(name)}; known are {known}"
    else:
        message = (
            f"{brief(name)} is no operator: to set it write "
            f"{{'$set': {{{brief(name)}: ...}}}}; replacing the whole document is not an update"
        )
    return failure("unknown_operator", message)


def _add_rename(plan: Plan, field: str, operand: Any, known: IsKnown) -> Any:
    if not isinstance(field, str):
        check_field_name(field, "$rename")
    source = parse_path(field)
    _check_identifiers(field, source, known)
    plan.add_source(field, source)
    target = normalize(operand, field)
    if not isinstance(target, str):
        raise failure(
            "bad_value", f"$rename: {field!r} needs a path, not {type_name(target)}", field
        )
    parsed = parse_path(target)
    _check_rename(field, source, target, parsed)
    plan.add(Step(RENAME, target, parsed, field))
    return target


def _check_rename(field: str, source: UpdatePath, target: str, parsed: UpdatePath) -> None:
    first, second = source.parts, parsed.parts
    if first == second:
        raise failure("bad_value", f"$rename: {field!r} is renamed to itself", field)
    if first == second[: len(first)] or second == first[: len(second)]:
        raise failure(
            "bad_value", f"$rename: {field!r} and {target!r} lie within one another", field
        )
    for path, dynamic in ((field, source.dynamic), (target, parsed.dynamic)):
        if dynamic:
            raise failure(
                "bad_value", f"$rename: {path!r} cannot depend on the elements of an array", field
            )


def _check_identifiers(path: str, parsed: UpdatePath, known: IsKnown) -> None:
    for identifier in parsed.identifiers:
        if not known(identifier):
            raise failure(
                "array_filters",
                f"no array filter for the identifier {identifier!r} in {path!r}: pass "
                f"array_filters=[{{{identifier!r}: ...}}]",
                path,
            )


# Plans by shape. A program has few shapes; one that builds paths from data refills the cache.
_plans: dict[tuple[Any, ...], Plan] = {}
_MAX_PLANS = 2048
_MAX_CACHED_STEPS = 32
_keys = dict.keys


def plan_for(update: dict[str, Any], known: Collection[str]) -> Plan:
    """Return the plan of an update, from the cache if its shape is known. Raises `UpdateError`.

    `known` are the identifiers of the array filters.
    """
    return planned(update, known)[0]


def planned(update: dict[str, Any], known: Collection[str]) -> tuple[Plan, list[Any] | None]:
    """Return the plan as `plan_for` does, and the prepared operands if the plan is new."""
    plan = operands = None
    try:
        # The number of operators makes the shape unambiguous: no field starts with "$".
        shape: tuple[Any, ...] = (len(update),)
        for name in _keys(update):
            shape = (*shape, name, *_keys(update[name]))
        plan = _plans.get(shape)
    except TypeError:
        pass  # the update or an operand is not an object: refused below
    if plan is None or (plan.dynamic and not plan.identifiers.issubset(known)):
        plan, operands = build_plan(update, known.__contains__)
        # The destination of $rename is its operand, so its plan depends on more than the shape.
        if len(operands) <= _MAX_CACHED_STEPS and "$rename" not in update:
            if len(_plans) >= _MAX_PLANS:
                _plans.clear()
            _plans[shape] = plan
    if known and len(known) > len(plan.identifiers):
        unused = ", ".join(map(repr, sorted(set(known) - plan.identifiers)))
        raise failure(
            "array_filters", f"array filters that the update does not use: {unused}", code=9
        )
    return plan, operands
