"""Rules of the server that are easily got wrong, and messages that must make sense, in tables."""

from __future__ import annotations

from typing import Any

import pytest

from memsync.document import (
    apply_patch,
    apply_update,
    compile_patch,
    compile_update,
    invert,
    replace_content,
)
from memsync.document.order import compare, equal, equality_key
from memsync.document.update.plan import plan_for
from memsync.errors import NotSerializableError, UpdateError

from .document_strategies import copied, text

INNER = {"a": [{"x": 5}, {"x": 1}, 2]}
MIXED = {"a": [{"a": [5, 1]}, {"a": [3, 9]}]}
NESTED = {"a": [{"a": [{"b": 1}]}, {"a": {"b": 0}}]}
WORKS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    # $not is no operator that $pull takes on elements, but it is one below a field.
    (INNER, {"$pull": {"a": {"x": {"$not": {"$gt": 3}}}}}, {"a": [{"x": 5}, 2]}),
    ({"a": [1, 5]}, {"$pull": {"a": {"$gt": 0, "$not": {"$gt": 3}}}}, {"a": [5]}),
    (INNER, {"$pull": {"a": {"$and": [{"x": 5}]}}}, {"a": [{"x": 1}, 2]}),
    ({"a": ["ab", "b"]}, {"$pull": {"a": {"$options": "i", "$regex": "A"}}}, {"a": ["b"]}),
    # $sort enters an array by index only.
    (MIXED, {"$push": {"a": {"$each": [], "$sort": {"a.1": 1}}}}, MIXED),
    (MIXED, {"$push": {"a": {"$each": [], "$sort": {"a.0": 1}}}}, {"a": [*MIXED["a"][::-1]]}),
    (MIXED, {"$push": {"a": {"$each": [], "$sort": {"a.00": 1}}}}, MIXED),
    (MIXED, {"$push": {"a": {"$each": [], "$sort": {"a.0.x": 1}}}}, MIXED),
    (NESTED, {"$push": {"a": {"$each": [], "$sort": {"a.b": 1}}}}, NESTED),
    (NESTED, {"$push": {"a": {"$each": [], "$sort": {"a.b": -1}}}}, {"a": NESTED["a"][::-1]}),
    # An index is what 64 bits hold, whatever zeros it starts with.
    ({"a": [1, 5]}, {"$set": {"a.00000000000001": 2}}, {"a": [1, 2]}),
    ({"a": [1, 5]}, {"$set": {"a." + "0" * 900 + "1": 2}}, {"a": [1, 2]}),
    ({"a": [1]}, {"$pop": {"a.99999999999": 1}}, {"a": [1]}),
]


@pytest.mark.parametrize(("document", "update", "expected"), WORKS)
def test_the_rule_holds(document: Any, update: Any, expected: Any) -> None:
    assert text(apply_update(document, update)) == text(expected)
    assert text(apply_patch(document, compile_update(document, update))) == text(expected)


# document, update, kind, code, part of the message
REFUSED: list[tuple[Any, Any, str, int, str]] = [
    ({"a": [1]}, {"$pull": {"a": {"$not": {"$gt": 3}}}}, "bad_value", 2, "top-level operator"),
    ({"a": [1]}, {"$pull": {"a": {"$expr": 1}}}, "bad_value", 2, "top-level operator"),
    ({"a": [1, 5]}, {"$set": {"a.99999999999": 1}}, "bad_value", 34, "fill 99999999997 elements"),
    ({"a": [1]}, {"$set": {f"a.{2**64 - 1}": 1}}, "bad_value", 34, "fill"),
    ({"a": [1]}, {"$set": {f"a.{2**64}": 1}}, "path_not_viable", 28, "cannot create field"),
    ({"a": [1]}, {"$set": {"a." + "9" * 900: 1}}, "path_not_viable", 28, "cannot create field"),
    ({"a": [1]}, {"$pop": {f"a.{2**64}": 1}}, "path_not_viable", 28, "cannot lie in 'a'"),
    ({"a": 1}, {}, "unknown_operator", 9, "the update is empty"),
    ({"a": None}, {"$inc": {"a": 1}}, "type_mismatch", 14, "the field 'a' is null, not"),
    ({"a": 1}, {"$inc": {"a": None}}, "type_mismatch", 14, "for 'a' is null, not"),
    ({"a": None}, {"$set": {"a.b": 1}}, "path_not_viable", 28, "'a', which is null"),
    ({"a": "x"}, {"$set": {"a.b": 1}}, "path_not_viable", 28, "'a', which is string 'x'"),
    ([1], {"$set": {"a": 1}}, "path_not_viable", 28, "in the document, which is array"),
    (None, {"$set": {"a": 1}}, "path_not_viable", 28, "in the document, which is null"),
]


@pytest.mark.parametrize(("document", "update", "kind", "code", "message"), REFUSED)
def test_it_is_refused_and_says_why(
    document: Any, update: Any, kind: str, code: int, message: str
) -> None:
    before = copied(document)
    with pytest.raises(UpdateError, match=message.replace("(", r"\(")) as caught:
        compile_update(document, update)
    assert (caught.value.kind, caught.value.server_code) == (kind, code)
    assert text(document) == text(before)


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ([{"op": "test", "path": "", "value": 1}], "the test of the document failed"),
        ([{"op": "add", "path": "/a/b", "value": 1}], "'/a' is no object or array"),
        ([{"op": "replace", "path": "", "value": 1}], "must stay an object, not be int"),
        ([{"op": "copy", "from": "/a", "path": ""}], "must stay an object, not be int"),
    ],
)
def test_a_patch_that_is_refused_names_the_document(patch: Any, message: str) -> None:
    for attempt in (apply_patch, compile_patch, invert):
        with pytest.raises(Exception, match=message):
            attempt({"a": 1}, patch)


def test_an_object_becomes_an_array_only_outside_of_sharing() -> None:
    patch = [{"op": "add", "path": "", "value": []}, {"op": "add", "path": "/-", "value": 1}]
    assert apply_patch({}, patch) == [1]
    assert apply_patch([5], [{"op": "add", "path": "/-", "value": 1}]) == [5, 1]
    for attempt in (compile_patch, invert):
        with pytest.raises(UpdateError, match="must stay an object, not be array"):
            attempt({}, patch)


@pytest.mark.parametrize(
    ("update", "order"),
    [
        ({"$inc": {"a": 1}}, [0]),
        ({"$inc": {"a.$[]": 1}}, [0]),
        ({"$rename": {"a": "b"}}, [0]),
        ({"$set": {}}, []),
        ({"$set": {"10": 1, "9": 1}}, [1, 0]),
    ],
)
def test_a_plan_says_its_order(update: Any, order: list[int]) -> None:
    assert list(plan_for(update, ()).order) == order


def test_a_step_prepares_its_operand() -> None:
    for update, operand in (({"$rename": {"a": "b"}}, "b"), ({"$inc": {"a": 1}}, 1)):
        (step,) = plan_for(update, ()).given
        assert step.prepare(operand, step.path, step.depth) == operand


def test_install_moves_what_is_out_of_order() -> None:
    document = {"a": 1, "b": 2}
    replace_content(document, {"b": 2, "a": 1})
    assert list(document.items()) == [("b", 2), ("a", 1)]


# Values of which no two are equal to MongoDB, and pairs that are.
DIFFERENT: list[Any] = [
    None, True, False, 0, 1, 2, -1, 0.5, 2**53, 2**53 + 1, "", "1", "True", [], {}, [1], [True],
    [[1]], [1, 2], [2, 1], {"a": 1}, {"a": True}, {"b": 1}, {"a": 1, "b": 2}, {"b": 2, "a": 1},
    ["a", 1], [["a", 1]], [3, ["a", 1]], [None], {"": None}, [5, True], [4, 1],
]  # fmt: skip
SAME: list[tuple[Any, Any]] = [
    (1, 1.0), (0, -0.0), (2**53, float(2**53)), ([1, {"a": 2}], [1.0, {"a": 2.0}]),
]  # fmt: skip


def test_keys_of_values_are_as_equal_as_the_values() -> None:
    for first, left in enumerate(DIFFERENT):
        for second, right in enumerate(DIFFERENT):
            assert equal(left, right) == (first == second)
            assert (equality_key(left) == equality_key(right)) == (first == second)
    for left, right in SAME:
        assert equal(left, right)
        assert equality_key(left) == equality_key(right)
    added = apply_update({"a": []}, {"$addToSet": {"a": {"$each": DIFFERENT * 2}}})
    assert text(added) == text({"a": DIFFERENT})
    for value in DIFFERENT:
        rest = [other for other in DIFFERENT if other is not value]
        assert text(apply_update(added, {"$pullAll": {"a": [value]}})) == text({"a": rest})


@pytest.mark.parametrize("update", ["$addToSet", "$pullAll"])
def test_the_work_grows_with_the_number_of_values_not_with_its_square(
    update: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = 0

    def counting(left: Any, right: Any) -> int:
        nonlocal compared
        compared += 1
        return compare(left, right)

    monkeypatch.setattr("memsync.document.order.compare", counting)
    values = [f"value {number}" for number in range(1000)]
    operand = {"$each": values} if update == "$addToSet" else values
    compile_update({"a": values[:500]}, {update: {"a": operand}})
    assert compared <= 3000


ARRAYS = {"a": [1, 2, 3], "b": [5, 6, 7], "c": [{"n": 1}, {"n": 2}]}


@pytest.mark.parametrize(
    ("filter", "index"),
    [
        ({"a": 2}, 1),
        # Of several arrays the one that the server matches last: by kind of condition, then path.
        ({"a": 2, "b": 5}, 0),
        ({"b": 5, "a": 2}, 0),
        ({"a": {"$gt": 2}, "b": 5}, 2),
        ({"a": {"$gte": 3}, "b": {"$lt": 6}}, 2),
        ({"b": {"$in": [6]}, "c.n": 1}, 1),
        ({"c": {"$elemMatch": {"n": 2}}, "b": 7}, 2),
        ({"$or": [{"a": 9}, {"a": 3}], "b": {"$ne": 9}}, 2),
        ({"$or": [{"a": 1, "b": 9}, {"c.n": 2}]}, 1),
        ({"$and": [{"a": 3}, {"b": {"$type": 16}}]}, 0),
    ],
)
def test_the_positional_operator_means_the_last_array_that_matched(filter: Any, index: int) -> None:
    expected = [1, 2, 3]
    expected[index] = 0
    after = apply_update(ARRAYS, {"$set": {"a.$": 0}}, filter=filter)
    assert after["a"] == expected


@pytest.mark.parametrize("filter", [{"$or": [{"a": 1, "b": 9}, {"c.n": 9}]}, {"a": 1, "b": 9}])
def test_what_did_not_match_as_a_whole_says_no_position(filter: Any) -> None:
    with pytest.raises(UpdateError) as caught:
        apply_update(ARRAYS, {"$set": {"a.$": 0}}, filter=filter)
    assert caught.value.kind == "positional_no_match"


@pytest.mark.parametrize("operator", ["$set", "$rename"])
def test_a_field_name_must_be_a_string(operator: str) -> None:
    with pytest.raises(NotSerializableError, match="field name 1 is of type int"):
        compile_update({}, {operator: {1: "x"}})


@pytest.mark.parametrize("name", [1, None, (), True])
def test_an_operator_must_be_a_string(name: Any) -> None:
    with pytest.raises(UpdateError, match="is no operator"):
        compile_update({}, {name: {"a": 1}})


def test_install_shortens_and_lengthens_arrays() -> None:
    document = {"a": [1, 2, [3]], "b": [1]}
    replace_content(document, {"a": [1, 5], "b": [1, {"x": 2}]})
    assert document == {"a": [1, 5], "b": [1, {"x": 2}]}
