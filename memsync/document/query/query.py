"""MongoDB's filter language: ``where``, ``$pull``, ``array_filters`` and ``wait_for`` use it.

A query is compiled once into a function; `parse_query` is where all of its mistakes are found.
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
    Condition,
    Found,
    equality,
    is_operator_object,
    parse_operators,
)


class Query:
    """A compiled filter: call it with a document.

    `names` are the first parts of the paths it looks at, in order, for ``array_filters``; `order`
    sorts the parts of a filter.
    """

    def __init__(
        self,
        test: Callable[[Any, Found | None], bool],
        names: list[str],
        order: tuple[int, str] = (0, ""),
    ) -> None:
        self.test = test
        self.names = names
        self.order = order

    def __call__(self, document: Any, found: Found | None = None) -> bool:
        """Whether `document` matches; then `found` is told of the elements that did."""
        if found is None:
            return self.test(document, None)
        mine: Found = []
        if not self.test(document, mine):
            return False
        found += mine
        return True


def matches(document: dict[str, Any], filter: dict[str, Any]) -> bool:
    """Whether `document` satisfies `filter`, as MongoDB's ``find`` would decide.

    Raises `UpdateError` for a filter that is none, `NotSerializableError` for values in it that
    are not JSON, or for those in the document that are looked at.

    >>> matches({"jobs": [{"n": 1}, {"n": 5}]}, {"jobs.n": {"$gt": 3}})
    True
    """
    query = parse_query(check_filter(filter))
    try:
        return query(document)
    except (ForeignValueError, RecursionError):
        explain_foreign(document)
        raise


def check_filter(filter: dict[str, Any]) -> dict[str, Any]:
    """A detached copy of `filter`, if it is a valid one. Raises as `matches` does."""
    try:
        checked = normalize(filter)
    except NotSerializableError as error:
        raise NotSerializableError(f"in a filter: {error}", path=error.path) from error
    parse_query(checked)
    assert isinstance(checked, dict)
    return checked


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
    if name.startswith("$"):
        raise failure("bad_value", f"unknown top-level operator in a filter: {name}")
    kind = next(iter(operand)) if is_operator_object(operand) else "$eq"
    return _field(tuple(name.split(".")), parse_condition(operand), (_RANKS[kind], name))


def parse_condition(operand: Any) -> Condition:
    """The condition that a filter puts on one field: operators, or a value to be equal to."""
    if not is_operator_object(operand):
        return equality(operand)
    return parse_operators(operand)


def _parse_list(name: str, operand: Any) -> list[Query]:
    if not isinstance(operand, list) or not operand:
        raise failure("bad_value", f"{name} needs an array of filters that is not empty")
    return [parse_query(item) for item in operand]


# The server sorts the parts of a filter by kind, then by path, before it matches them. That decides
# which array the positional $ means: the one that was matched last.
_KINDS = (
    "$and", "$or", "$elemMatch", "$size", "$eq", "$lte", "$lt", "$gt", "$gte", "$regex", "$mod",
    "$exists", "$in", "$ne", "$nin", "$not", "$nor", "$type",
)  # fmt: skip
_RANKS = {kind: rank for rank, kind in enumerate(_KINDS)}
_RANKS["$all"] = _RANKS["$eq"]
_RANKS["$options"] = _RANKS["$regex"]


def _field(parts: Parts, condition: Condition, order: tuple[int, str]) -> Query:
    return Query(lambda document, found: condition.at(document, parts, found), [parts[0]], order)


def _conjunction(queries: list[Query]) -> Query:
    return Query(
        lambda document, found: all(query(document, found) for query in queries), _names(queries)
    )


def _disjunction(queries: list[Query]) -> Query:
    return Query(
        lambda document, found: any(query(document, found) for query in queries), _names(queries)
    )


def _rejection(queries: list[Query]) -> Query:
    return Query(
        lambda document, found: not any(query(document) for query in queries), _names(queries)
    )


def _names(queries: list[Query]) -> list[str]:
    return [name for query in queries for name in query.names]


_LOGICAL: dict[str, Callable[[list[Query]], Query]] = {
    "$and": _conjunction,
    "$nor": _rejection,
    "$or": _disjunction,
}
