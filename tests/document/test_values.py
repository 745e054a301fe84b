"""What may be stored, and how values compare."""

from __future__ import annotations

import collections
import enum
import random
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memsync.document import make_live, normalize
from memsync.document.failures import ForeignValueError
from memsync.document.order import compare, equal, identical, json_equal, type_name
from memsync.document.paths import parse_pointer, pointer_of
from memsync.document.values import are_scalars
from memsync.errors import NotSerializableError, UpdateError

from .document_strategies import text, values


class Number(enum.IntEnum):
    SEVEN = 7


class Name(str):
    """A subclass of str."""


class Float(float):
    """A subclass of float."""


def nested(depth: int) -> Any:
    return [] if depth == 1 else {"x": nested(depth - 1)}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Number.SEVEN, 7),
        (Name("Größe"), "Größe"),
        ({Name("k"): Float(-0.0)}, {"k": -0.0}),
        (collections.OrderedDict(b=1, a=[Number.SEVEN]), {"b": 1, "a": [7]}),
        (make_live({"a": [1, {"b": 2}]}, None), {"a": [1, {"b": 2}]}),
        (make_live({"a": [1]}, None)["a"], [1]),
        (collections.UserList, None),
    ][:-1],
)
def test_subclasses_become_the_base_type(value: Any, expected: Any) -> None:
    def types(item: Any) -> Any:
        if isinstance(item, dict):
            return dict, [(types(key), types(inner)) for key, inner in item.items()]
        if isinstance(item, list):
            return list, [types(inner) for inner in item]
        return type(item)

    class Items(list):  # type: ignore[type-arg]  # any list
        """A subclass of list."""

    normalized = normalize(Items([value]))
    assert text(normalized) == text([expected])
    assert types(normalized) == types([expected])


CYCLE: list[Any] = []
CYCLE.append({"x": CYCLE})


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        ((1,), "", "tuple"),
        ({"a": [0, {1}]}, "a.1", "set"),
        ({"a": {"b": b""}}, "a.b", "bytes"),
        (datetime(2026, 1, 1), "", "isoformat"),
        (2**63, "", "64 bits"),
        (-(2**63) - 1, "", "64 bits"),
        ([float("nan")], "0", "not finite"),
        (float("inf"), "", "not finite"),
        (1j, "", "complex cannot be shared"),
        ({"a": {1: 2}}, "a", "field name 1"),
        ({"x" * 1025: 1}, "x" * 20 + "...", "1024 bytes"),
        ({"ä" * 513: 1}, "ä" * 20 + "...", "1024 bytes"),
        ({"\ud800": 1}, "", "surrogate"),
        (["\udfff"], "0", "surrogate"),
        (nested(101), ".".join("x" * 100), "deeper than 100"),
        (CYCLE, "0.x", "contains itself"),
        (1j, "", "complex"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_everything_else_is_refused_with_its_place(value: Any, path: str, message: str) -> None:
    with pytest.raises(NotSerializableError, match=message) as caught:
        normalize(value)
    assert caught.value.path == path
    with pytest.raises(NotSerializableError) as caught:
        normalize({"k": value} if path else value, "at")
    assert caught.value.path is not None
    assert caught.value.path.startswith("at")


def test_the_limits_themselves_are_allowed() -> None:
    for value in (2**63 - 1, -(2**63), 1.7e308, nested(100), {"x" * 1024: 1}, {"ä" * 512: ""}, ""):
        assert normalize(value) == value


def test_a_value_that_changes_while_it_is_read_is_refused(monkeypatch: Any) -> None:
    from memsync.document import values as module

    def refuse(value: Any, depth: int) -> Any:
        raise ForeignValueError

    # What another thread would do between the two walks.
    monkeypatch.setattr(module, "_copy", refuse)
    with pytest.raises(NotSerializableError, match="changed while it was read"):
        normalize({"a": [1, 1.5, "s", None]})


ORDER = [
    None, -1, 0, 0.5, 1, 2**53 + 1, "", "a", "ab", "b", "ä", {}, {"a": None}, {"a": 1},
    {"a": 1, "b": 0}, {"b": 1}, {"a": "x"}, [], [None], [1], [1, 2], [2], ["a"], False, True,
]  # fmt: skip


def test_the_order_of_values() -> None:
    shuffled = ORDER[:]
    random.Random(1).shuffle(shuffled)
    for position, left in enumerate(ORDER):
        for other, right in enumerate(ORDER):
            assert compare(left, right) == (position > other) - (position < other)
            assert equal(left, right) == (position == other)


@settings(deadline=None)
@given(values, values)
def test_comparisons_agree_with_each_other(left: Any, right: Any) -> None:
    assert compare(left, right) == -compare(right, left)
    assert identical(left, left)
    if identical(left, right):
        assert equal(left, right)
    if equal(left, right):
        assert json_equal(left, right)
    assert identical(left, right) == (text(left) == text(right))
    assert identical(make_live({"x": left}, None), {"x": left})


def test_sameness() -> None:
    assert equal(1, 1.0)
    assert not identical(1, 1.0)
    assert not equal(1, True)
    assert not json_equal(0, False)
    assert json_equal({"a": 1, "b": [2]}, {"b": [2.0], "a": 1})
    assert not json_equal({"a": 1}, [1])
    assert not json_equal([1], {"a": 1})
    assert not identical({"a": 1}, [1])
    assert not identical([1], 1)
    assert not identical(0.0, -0.0)
    assert not equal({"a": 1, "b": 2}, {"b": 2, "a": 1})


def test_names_of_types() -> None:
    values: list[Any] = [None, True, 1, 2**31, 1.0, "", {}, []]
    found = [type_name(value) for value in values]
    assert found == ["null", "bool", "int", "long", "double", "string", "object", "array"]


@pytest.mark.parametrize("parts", [(), ("",), ("a", "b/c", "~", "~1"), ("0", " ")])
def test_pointers_there_and_back(parts: tuple[str, ...]) -> None:
    assert parse_pointer(pointer_of(parts)) == parts


@pytest.mark.parametrize("pointer", ["a", "a/b", "/~", "/a~2", "/~~0"])
def test_what_is_no_pointer(pointer: str) -> None:
    with pytest.raises(UpdateError, match="no JSON pointer"):
        parse_pointer(pointer)


_numbers = [0, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 1.5, float("nan"), float("inf")]
_others: list[Any] = [None, True, "", "Größe", "\ud83d", "\ude00", [], {}, b"", (1,)]
_scalars: st.SearchStrategy[Any] = st.sampled_from(
    [*_numbers, *_others, Number.SEVEN, Name("n"), Float(1)]
)


@given(st.lists(_scalars, max_size=4))
def test_many_values_are_scalars_exactly_when_each_of_them_is(found: list[Any]) -> None:
    def is_scalar(value: Any) -> bool:
        try:
            return normalize(value) is value and not isinstance(value, (dict, list))
        except NotSerializableError:
            return False

    assert are_scalars(found) == all(map(is_scalar, found))
