"""Tables of methods: what is accepted, under which names, and what is refused how."""

from __future__ import annotations

import functools
from typing import Any

import pytest

import memsync
from memsync.errors import UsageError
from memsync.rpc.functions import check_name, flatten, idempotent, make_method


def plain() -> int:
    return 1


async def later() -> int:
    return 1


async def items() -> Any:
    yield 1


class Calls:
    def method(self) -> int:
        return 1

    async def later(self) -> int:
        return 1

    async def __call__(self) -> int:
        return 1


def test_nested_tables_become_dotted_names() -> None:
    table = {"a": plain, "b": {"c": plain, "d": {"e": plain}}, "f.g": plain, "empty": {}}
    assert list(flatten(table)) == ["a", "b.c", "b.d.e", "f.g"]
    assert flatten(None) == flatten({}) == {}


@pytest.mark.parametrize(
    ("function", "is_async"),
    [
        (plain, False),
        (later, True),
        (items, True),
        (functools.partial(later), True),
        (functools.partial(functools.partial(plain)), False),
        (Calls().method, False),
        (Calls().later, True),
        (Calls(), True),
        (Calls, False),
        (len, False),
        (print, False),
        (lambda: later(), False),
    ],
)
def test_asynchronous_functions_are_known(function: Any, is_async: bool) -> None:
    assert make_method("name", function).is_async is is_async


def test_the_mark_of_an_idempotent_method() -> None:
    marked = memsync.idempotent(lambda: 1)
    assert memsync.idempotent is idempotent
    assert flatten({"a": marked, "b": plain})["a"].flags == "i"
    assert flatten({"a": functools.partial(marked)})["a"].is_idempotent
    assert flatten({"b": plain})["b"].flags == ""


class Squares:
    @idempotent
    @staticmethod
    def below(n: int) -> int:
        return n

    @staticmethod
    @idempotent
    def above(n: int) -> int:
        return n

    @idempotent
    @classmethod
    def of_class(cls, n: int) -> int:
        return n

    @idempotent
    def of_instance(self, n: int) -> int:
        return n


@pytest.mark.parametrize(
    "method", [Squares.below, Squares.above, Squares.of_class, Squares().of_instance]
)
def test_the_mark_on_methods_of_a_class(method: Any) -> None:
    assert flatten({"square": method})["square"].is_idempotent
    assert method(7) == 7


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (7, "rpc=7: the methods are a dict"),
        ([plain], "the methods are a dict"),
        ({"a": 7}, "the method 'a': it must be a function or a table of functions, not 7"),
        ({"a": {"b": None}}, r"the method 'a\.b': it must be a function"),
        ({7: plain}, "the name 7 in its table is no string"),
        ({"a": {None: plain}}, "the method 'a': the name None"),
        ({"": plain}, "1 to 300 characters"),
        ({"a": {"": plain}}, r"the method 'a\.': a name is made of parts"),
        ({"a..b": plain}, "a name is made of parts"),
        ({"a b": plain}, "without spaces"),
        ({"a\n": plain}, "without spaces"),
        ({"\udc80": plain}, "a name is made of parts"),
        ({"x" * 301: plain}, "1 to 300 characters"),
        ({"a": {"b": plain}, "a.b": plain}, r"the method 'a\.b': the table has it twice"),
        ({"memsync.run": plain}, "memsync's own"),
    ],
)
def test_a_wrong_table_is_refused_with_the_place(table: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        flatten(table)


def test_a_table_that_contains_itself_is_refused() -> None:
    table: dict[str, Any] = {}
    table["a"] = table
    with pytest.raises(UsageError, match="contains itself"):
        flatten(table)


@pytest.mark.parametrize("name", [7, None, b"a"])
def test_a_name_is_a_string(name: Any) -> None:
    with pytest.raises(UsageError, match="the name of a method is a string"):
        check_name(name)


@pytest.mark.parametrize("function", [7, "add", None])
def test_only_a_function_can_be_idempotent(function: Any) -> None:
    with pytest.raises(UsageError, match="marks a function, not"):
        idempotent(function)


def test_a_function_without_attributes_cannot_be_idempotent() -> None:
    with pytest.raises(UsageError, match="wrap it in a function"):
        idempotent(len)
