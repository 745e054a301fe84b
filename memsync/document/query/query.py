"""MongoDB's filter language, used by ``where``, ``$pull``, ``array_filters`` and ``wait_for``.

`parse_query` compiles a filter once into a function and reports every mistake in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import NotSerializableError
from ..failures import ForeignValueError, failure
from ..order import type_name
from ..paths import Parts
from ..values import explain_foreign, normalize
from .conditions import (
    EQUALITY_HINT,
    PLAIN_PARSERS,
    REFERENCE_FIELDS,
    AllOf,
    Condition,
    ElementMatch,
    Leaf,
    MatchedIndexes,
    Negation,
    equality,
    is_operator_object,
    require_array,
)
from .regex import compile_pattern


class Query:
    """A compiled filter: call it with a document.

    `names` are the first parts of the paths it reads, in order, for ``array_filters``; `order` is
    its sort key among the parts of a filter.
    """

    def __init__(
        self,
        test: Callable[[Any, MatchedIndexes | None], bool],
        names: list[str],
        order: tuple[int, str] = (0, ""),
    ) -> None:
        self.test = test
        self.names = names
        self.order = order

    def __call__(self, document: Any, matched: MatchedIndexes | None = None) -> bool:
        """Whether `document` matches; if so, append the matched array indexes to `matched`."""
        if matched is None:
            return self.test(document, None)
        own: MatchedIndexes = []
        if not self.test(document, own):
            return False
        matched += own
        return True


def matches(document: dict[str, Any], filter: dict[str, Any]) -> bool:
    """Whether `document` satisfies `filter`, as MongoDB's ``find`` would decide.

    Raises `UpdateError` for an invalid filter, and `NotSerializableError` for values that are not
    JSON, in the filter or in the part of the document that the filter reads.

    >>> matches({"jobs": [{"n": 1}, {"n": 5}]}, {"jobs.n": {"$gt": 3}})
    True
    """
    _, query = _checked(filter)
    try:
        return query(document)
    except (ForeignValueError, RecursionError):
        explain_foreign(document)
        raise


def check_filter(filter: dict[str, Any]) -> dict[str, Any]:
    """Return a detached copy of `filter` if it is valid. Raises as `matches` does."""
    return _checked(filter)[0]


def _checked(filter: Any) -> tuple[dict[str, Any], Query]:
    try:
        checked = normalize(filter)
    except NotSerializableError as error:
        raise NotSerializableError(f"in a filter: {error}", path=error.path) from error
    query = parse_query(checked)
    assert isinstance(checked, dict)
    return checked, query


def parse_query(filter: Any) -> Query:
    """Compile a filter of normalized values. Raises `UpdateError`."""
    if not isinstance(filter, dict):
        raise failure("bad_value", f"a filter must be an object, not {type_name(filter)}")
    parts = [_parse_entry(name, operand) for name, operand in filter.items()]
    if len(parts) == 1:
        return parts[0]
    return _conjunction(sorted(parts, key=lambda part: part.order))


def _parse_entry(name: str, operand: Any) -> Query:
    if name in _LOGICAL:
        return _LOGICAL[name](_parse_list(name, operand))
    if name in REFERENCE_FIELDS:
        return _field((name,), equality(operand), (_RANKS["$eq"], name))
    if name.startswith("$"):
        message = f"unknown top-level operator in a filter: {name}; {EQUALITY_HINT}"
        raise failure("bad_value", message)
    kind = next(iter(operand)) if is_operator_object(operand) else "$eq"
    return _field(tuple(name.split(".")), parse_condition(operand), (_RANKS[kind], name))


def parse_condition(operand: Any) -> Condition:
    """Compile the condition on one field: an object of operators, or a value to compare with."""
    if not is_operator_object(operand):
        return equality(operand)
    return parse_operators(operand)


def _parse_list(name: str, operand: Any) -> list[Query]:
    if not isinstance(operand, list) or not operand:
        raise failure("bad_value", f"{name} needs an array of filters that is not empty")
    return [parse_query(item) for item in operand]


# The server sorts the parts of a filter by kind, then by path, before it matches them. The order
# decides which array the positional $ refers to: the one matched last.
_KINDS = (
    "$and", "$or", "$elemMatch", "$size", "$eq", "$lte", "$lt", "$gt", "$gte", "$regex", "$mod",
    "$exists", "$in", "$ne", "$nin", "$not", "$nor", "$type",
)  # fmt: skip
_RANKS = {kind: rank for rank, kind in enumerate(_KINDS)}
_RANKS["$all"] = _RANKS["$eq"]
_RANKS["$options"] = _RANKS["$regex"]


def _field(parts: Parts, condition: Condition, order: tuple[int, str]) -> Query:
    return Query(
        lambda document, matched: condition.at(document, parts, matched), [parts[0]], order
    )


def _conjunction(queries: list[Query]) -> Query:
    return Query(
        lambda document, matched: all(query(document, matched) for query in queries),
        _names(queries),
    )


def _disjunction(queries: list[Query]) -> Query:
    return Query(
        lambda document, matched: any(query(document, matched) for query in queries),
        _names(queries),
    )


def _rejection(queries: list[Query]) -> Query:
    return Query(
        lambda document, matched: not any(query(document) for query in queries), _names(queries)
    )


def _names(queries: list[Query]) -> list[str]:
    return [name for query in queries for name in query.names]


_LOGICAL: dict[str, Callable[[list[Query]], Query]] = {
    "$and": _conjunction,
    "$nor": _rejection,
    "$or": _disjunction,
}


def _elem_match(operand: Any) -> Condition:
    if not isinstance(operand, dict):
        raise failure("bad_value", f"$elemMatch needs an object, not {type_name(operand)}")
    # Part of a DBRef is enough: such an object is a filter on the fields of the elements.
    is_filter = next(iter(operand), "") in _LOGICAL or not REFERENCE_FIELDS.isdisjoint(operand)
    if is_operator_object(operand) and not is_filter:
        return ElementMatch(parse_operators(operand).single)
    query = parse_query(operand)
    return ElementMatch(lambda item: isinstance(item, (dict, list)) and query(_as_object(item)))


def _as_object(item: Any) -> Any:
    """``$elemMatch`` treats an array as an object whose field names are the indexes."""
    if isinstance(item, dict):
        return item
    return {str(index): value for index, value in enumerate(list.__iter__(item))}


def _negated(operand: Any) -> Condition:
    if not isinstance(operand, dict) or not operand:
        raise failure("bad_value", "$not needs an object of operators")
    return Negation(parse_operators(operand))


def _all(operand: Any) -> Condition:
    items = require_array("$all", operand)
    if not items:
        return Leaf(lambda value: False)
    if _is_elem_match(items[0]):
        if not all(map(_is_elem_match, items)):
            raise failure("bad_value", "$all takes $elemMatch for all of its items or for none")
        return AllOf([_elem_match(item["$elemMatch"]) for item in items])
    if any(isinstance(item, dict) and next(iter(item), None) in _ALL_OPERATORS for item in items):
        raise failure("bad_value", "$all cannot contain operators other than $elemMatch")
    return AllOf([equality(item) for item in items])


def _is_elem_match(item: Any) -> bool:
    return isinstance(item, dict) and list(item) == ["$elemMatch"]


_PARSERS: dict[str, Callable[[Any], Condition]] = {
    **PLAIN_PARSERS,
    "$all": _all,
    "$elemMatch": _elem_match,
    "$not": _negated,
}
FIELD_OPERATORS = frozenset(_PARSERS) | {"$regex", "$options"}
# If the operand of $pull starts with one of these, it is a condition on elements. The server's
# parser accepts $not only below a field.
PULL_OPERATORS = FIELD_OPERATORS - {"$not"}
# Where ``$all`` is an array of values, only a name that the server knows is an operator. memsync
# has no geometry and no bit tests.
_ALL_OPERATORS = FIELD_OPERATORS | {
    "$bitsAllClear", "$bitsAllSet", "$bitsAnyClear", "$bitsAnySet", "$geoIntersects", "$geoNear",
    "$geoWithin", "$near", "$nearSphere", "$within",
}  # fmt: skip


def parse_operators(operators: dict[str, Any]) -> Condition:
    """Compile an object of operators. Raises `UpdateError`."""
    conditions: list[Condition] = []
    for name, operand in operators.items():
        if name == "$options":
            if "$regex" not in operators:
                raise failure("bad_value", "$options needs a $regex")
        elif name == "$regex":
            pattern = compile_pattern(operand, operators.get("$options", ""))
            conditions.append(Leaf(_pattern_test(pattern)))
        elif name in _PARSERS:
            conditions.append(_PARSERS[name](operand))
        else:
            raise failure("bad_value", f"unknown operator in a filter: {name}; {EQUALITY_HINT}")
    return conditions[0] if len(conditions) == 1 else AllOf(conditions)


def _pattern_test(pattern: Any) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and pattern.search(value) is not None
