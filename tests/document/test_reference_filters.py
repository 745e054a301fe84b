"""``$ref``, ``$id`` and ``$db`` in filters: DBRefs, and documents that only look like them.

The rule is the server's (``isDBRefDocument`` and ``isExpressionDocument`` in its expression parser,
and the ``$pull`` node, which takes an object without a known operator for a filter).
"""

from __future__ import annotations

from typing import Any

import pytest

from memsync.document import apply_update, check_filter, matches
from memsync.errors import UpdateError

from .document_strategies import text

REF = {"$ref": "users", "$id": 1}
IN_DB = {"$ref": "users", "$id": 1, "$db": "other"}
SCHEMA = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}
NAMED_SCHEMA = {"$schema": "s", "$id": "https://x/a", "$ref": "#/a"}
POINTER = {"$ref": "#/components/schemas/User"}

YES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    # an equality with the object as a whole
    ({"s": REF}, {"s": REF}),
    ({"s": IN_DB}, {"s": IN_DB}),
    ({"s": {"$id": 1, "$ref": "users"}}, {"s": {"$id": 1, "$ref": "users"}}),
    ({"s": {"$db": "d", "$id": 1, "$ref": "c"}}, {"s": {"$db": "d", "$id": 1, "$ref": "c"}}),
    ({"s": {**REF, "note": [1]}}, {"s": {**REF, "note": [1]}}),
    ({"s": {"$ref": 1, "$id": None}}, {"s": {"$ref": 1, "$id": None}}),  # types do not matter
    ({"s": NAMED_SCHEMA}, {"s": NAMED_SCHEMA}),
    ({"l": [1, REF]}, {"l": REF}),
    ({"o": {"s": REF}}, {"o.s": REF}),
    # fields below a path
    ({"s": POINTER}, {"s.$ref": "#/components/schemas/User"}),
    ({"s": REF}, {"s.$id": {"$gte": 1}}),
    # operators
    ({"s": REF}, {"s": {"$eq": REF}}),
    ({"s": POINTER}, {"s": {"$eq": POINTER}}),
    ({"s": SCHEMA}, {"s": {"$eq": SCHEMA}}),
    ({"s": SCHEMA}, {"s": {"$ne": POINTER}}),
    ({"s": REF}, {"s": {"$gte": REF, "$lte": REF}}),
    ({"s": REF}, {"s": {"$in": [REF, IN_DB]}}),
    ({"s": SCHEMA}, {"s": {"$nin": [REF]}}),
    ({"s": REF}, {"s": {"$not": {"$eq": POINTER}}}),
    ({"l": [REF, IN_DB]}, {"l": {"$all": [REF, IN_DB]}}),
    ({"l": [POINTER, SCHEMA]}, {"l": {"$all": [POINTER, SCHEMA]}}),
    # an element with these fields, and perhaps others
    ({"l": [{**REF, "x": 1}]}, {"l": {"$elemMatch": REF}}),
    ({"l": [{"x": 1, **POINTER}]}, {"l": {"$elemMatch": POINTER}}),
    ({"l": [IN_DB]}, {"l": {"$elemMatch": {"$db": "other"}}}),
    ({"l": [{"$id": 7}]}, {"l": {"$elemMatch": {"$id": 7}}}),
    ({"l": [IN_DB]}, {"l": {"$elemMatch": {"$or": [{"$db": "other"}, {"$id": 2}]}}}),
    # fields of the document itself
    ({"$ref": "#/a", "n": 1}, {"$ref": "#/a"}),
    ({"$id": [1, 2]}, {"$id": 2}),
    ({"n": 1}, {"$db": None}),
    ({"$id": {"$gt": 1}}, {"$id": {"$gt": 1}}),  # always an equality
]
NO: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"s": IN_DB}, {"s": REF}),
    ({"s": {"$id": 1, "$ref": "users"}}, {"s": REF}),  # the order of fields counts
    ({"s": {**REF, "$id": 2}}, {"s": REF}),
    ({"s": POINTER}, {"s": {"$in": [REF]}}),
    ({"l": [REF]}, {"l": {"$elemMatch": IN_DB}}),
    ({"l": [REF]}, {"l": {"$all": [REF, IN_DB]}}),
    ({"$id": 2}, {"$id": {"$gt": 1}}),
]
REFUSED: list[dict[str, Any]] = [
    {"s": POINTER},  # `$id` is missing
    {"s": {"$id": 1}},
    {"s": {"$db": "d"}},
    {"s": SCHEMA},
    {"s": {"$db": "d", "$ref": "c"}},
    {"s": {"$in": [POINTER]}},
    {"s": {"$in": [SCHEMA]}},
    {"s": {"$nin": [{"$id": 1}]}},
    {"s": {"$not": REF}},
    {"l": {"$elemMatch": SCHEMA}},
    {"l": {"$elemMatch": {"$ref": "a", "$gt": 1}}},
    {"l": {"$all": [{"$near": [1, 2]}]}},
    {"s": {"$gt": 1, "$ref": "c"}},
    SCHEMA,
]


@pytest.mark.parametrize(("document", "filter"), YES, ids=text)
def test_it_matches(document: Any, filter: Any) -> None:
    assert matches(document, filter)
    assert check_filter(filter) == filter


@pytest.mark.parametrize(("document", "filter"), NO, ids=text)
def test_it_does_not_match(document: Any, filter: Any) -> None:
    assert not matches(document, filter)


@pytest.mark.parametrize("filter", REFUSED, ids=text)
def test_it_is_refused_as_in_the_server(filter: Any) -> None:
    with pytest.raises(UpdateError) as caught:
        check_filter(filter)
    assert caught.value.kind == "bad_value"
    assert caught.value.server_code == 2


@pytest.mark.parametrize("filter", [{"s": POINTER}, {"s": {"$in": [SCHEMA]}}, SCHEMA], ids=text)
def test_the_refusal_names_the_way_out(filter: Any) -> None:
    with pytest.raises(UpdateError, match=r"only \$eq compares with an object whose first field"):
        check_filter(filter)


PULLS: list[tuple[list[Any], Any, list[Any]]] = [
    ([REF, IN_DB, POINTER, 1], REF, [POINTER, 1]),  # a filter: elements may have more fields
    ([{"a": 1, **POINTER}, SCHEMA], POINTER, [SCHEMA]),
    ([IN_DB, REF], {"$db": "other"}, [REF]),
    ([POINTER, SCHEMA], {"$eq": SCHEMA}, [POINTER]),
    ([POINTER, {"a": 1, **POINTER}], {"$eq": POINTER}, [{"a": 1, **POINTER}]),
    ([POINTER, REF], {"$in": [REF]}, [POINTER]),
    ([{"s": REF}, {"s": IN_DB}], {"s": REF}, [{"s": IN_DB}]),
    ([{"s": POINTER}, {"s": REF}], {"s.$ref": POINTER["$ref"]}, [{"s": REF}]),
]


@pytest.mark.parametrize(("array", "operand", "left"), PULLS, ids=text)
def test_pull_takes_it_for_a_filter(array: Any, operand: Any, left: Any) -> None:
    assert apply_update({"l": array}, {"$pull": {"l": operand}}) == {"l": left}


@pytest.mark.parametrize("operand", [SCHEMA, {"s": POINTER}, {"$in": [POINTER]}], ids=text)
def test_pull_refuses_what_is_no_filter(operand: Any) -> None:
    with pytest.raises(UpdateError):
        apply_update({"l": [SCHEMA]}, {"$pull": {"l": operand}})


def test_pull_all_compares_with_any_object() -> None:
    assert apply_update({"l": [POINTER, SCHEMA, REF]}, {"$pullAll": {"l": [SCHEMA, POINTER]}}) == {
        "l": [REF]
    }


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"i": REF}, [{"n": 1}, POINTER]),
        ({"i": {"$eq": POINTER}}, [REF, {"n": 1}]),
        ({"i.$ref": POINTER["$ref"]}, [REF, {"n": 1}]),
        ({"i": {"$in": [REF]}}, [{"n": 1}, POINTER]),
    ],
    ids=text,
)
def test_array_filters_select_such_elements(filter: Any, expected: Any) -> None:
    update = {"$set": {"l.$[i]": {"n": 1}}}
    assert apply_update({"l": [REF, POINTER]}, update, array_filters=[filter]) == {"l": expected}


@pytest.mark.parametrize("filter", [{"i": POINTER}, REF, {"$id": 1}], ids=text)
def test_array_filters_refuse_such_filters(filter: Any) -> None:
    with pytest.raises(UpdateError) as caught:
        apply_update({"l": [REF]}, {"$set": {"l.$[i]": 1}}, array_filters=[filter])
    assert caught.value.kind == "array_filters"


def test_the_positional_operator_finds_such_an_element() -> None:
    document = {"l": [POINTER, REF]}
    assert apply_update(document, {"$set": {"l.$": 0}}, filter={"l": REF}) == {"l": [POINTER, 0]}
