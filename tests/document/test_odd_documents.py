"""Documents of a program that hold what JSON cannot say: only our own errors come out.

The shared object never holds such values. The functions on plain documents may be given them.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from enum import IntEnum
from functools import partial
from typing import Any

import pytest

from memsync.document import (
    apply_patch,
    apply_update,
    compile_patch,
    compile_update,
    invert,
    matches,
)
from memsync.document.order import identical
from memsync.errors import MemSyncError, NotSerializableError


class Level(IntEnum):
    ONE = 1


class Name(str):
    """A str that is no enum member; the encoder refuses it, memsync takes it as a str."""


class Ratio(float):
    """A float like those of numpy."""


class Count(int):
    """An int of a program's own."""


ODD: dict[str, Any] = {
    "object": object(),
    "set": {1},
    "frozenset": frozenset({2}),
    "bytes": b"x",
    "tuple": (1,),
    "tuple of objects": (object(),),
    "enum member": Level.ONE,
    "str of a subclass": Name("x"),
    "float of a subclass": Ratio(1.5),
    "int of a subclass": Count(3),
    "int of 65 bits": 2**64,
    "negative int of 65 bits": -(2**63) - 1,
    "int of 400 digits": 10**400,
    "nan": float("nan"),
    "half a surrogate pair": "\ud800",
    "int as a key": {0: 1},
    "tuple as a key": {(1, 2): 1},
    "bytes as a key": {b"k": 1},
    "None as a key": {None: object()},
    "half a surrogate pair as a key": {"\ud800": 1},
    "dict of a subclass": OrderedDict(a=object()),
    "dict with a default": defaultdict(dict, {"a": 2**70}),
    "list of objects": [object(), object()],
    "deep": [{"a": [{"b": object()}]}],
}
VALUES: list[Any] = [1, "x", [], [1], [[1]], {"a": 1}, {"b": 1}, {"a": {"a": 1}}, [{"a": 1}]]
PATHS = ["a", "a.a", "a.0", "a.b", "a.$[]"]


def documents_with(odd: Any) -> Iterator[Any]:
    yield {"a": odd}
    yield {"a": odd, "b": odd}
    yield {"a": [odd], "b": [odd]}
    yield {"a": [[odd], [odd]]}
    yield {"a": [1, odd, {"a": odd}]}
    yield {"a": {"a": odd}, "b": {"a": odd}}
    yield {"a": {"b": odd}, 0: odd}
    yield odd


def updates() -> Iterator[dict[str, Any]]:
    for path in PATHS:
        for value in VALUES:
            for name in ("$set", "$setOnInsert", "$min", "$max", "$push", "$addToSet", "$pull"):
                yield {name: {path: value}}
            yield {"$pullAll": {path: [value]}}
            yield {"$push": {path: {"$each": [value], "$sort": 1}}}
            yield {"$set": {path: value, "b": value}}
        yield {"$push": {path: {"$each": [], "$slice": 1}}}
        yield {"$pop": {path: -1}}
        yield {"$unset": {path: ""}}
        yield {"$rename": {path: "b"}}
        yield {"$rename": {"b": path}}


def patches() -> Iterator[list[dict[str, Any]]]:
    pointers = ["/a", "/a/a", "/a/0", "/b", ""]
    for path in pointers:
        yield [{"op": "remove", "path": path}]
        for value in VALUES:
            for kind in ("add", "replace", "test"):
                yield [{"op": kind, "path": path, "value": value}]
            yield [{"op": "remove", "path": path}, {"op": "add", "path": path, "value": value}]
        for source in pointers:
            for kind in ("move", "copy"):
                yield [{"op": kind, "path": path, "from": source}]
                yield [
                    {"op": "copy", "path": "/c", "from": "/a"},
                    {"op": kind, "path": path, "from": source},
                ]


def attempts(document: Any) -> Iterator[Callable[[], object]]:
    for update in updates():
        yield partial(compile_update, document, update)
        yield partial(apply_update, document, update)
    for patch in patches():
        yield partial(compile_patch, document, patch)
        yield partial(apply_patch, document, patch)
        yield partial(invert, document, patch)
    for value in VALUES:
        for condition in ("$eq", "$gt", "$in"):
            operand = [value] if condition == "$in" else value
            yield partial(matches, document, {"a": {condition: operand}})


@pytest.mark.parametrize("case", ODD)
def test_only_our_errors_come_out(case: str) -> None:
    for document in documents_with(ODD[case]):
        for attempt in attempts(document):
            with contextlib.suppress(MemSyncError):
                attempt()


def test_values_of_subclasses_are_compared_as_what_they_are() -> None:
    for value in (Name("x"), Ratio(1.5), Count(3)):
        document = {"a": [value], "b": [value]}
        assert compile_update(document, {"$rename": {"b": "a"}}) == [{"op": "remove", "path": "/b"}]
        assert compile_update(document, {"$set": {"a": [9]}}) != []


def test_a_value_that_is_only_replaced_does_not_matter() -> None:
    replaced = [{"op": "replace", "path": "/a", "value": [1]}]
    assert compile_update({"a": [2**64]}, {"$set": {"a": [1]}}) == replaced
    with pytest.raises(NotSerializableError, match="object"):
        compile_update({"a": [object()]}, {"$set": {"a": [1]}})


def test_containers_without_an_encoding_are_compared_item_by_item() -> None:
    big = 2**70
    assert identical({"a": [big], "b": 1}, {"a": [big], "b": 1})
    assert not identical({"a": [big], "b": 1}, {"b": 1, "a": [big]})
    assert not identical({"a": [big]}, {"a": [big + 1]})
    assert not identical([big, 1], [big, 1.0])
    assert not identical([big, 0.0], [big, -0.0])
    assert not identical([big, True], [big, 1])
    assert identical(["\ud800", {"a": None}], ["\ud800", {"a": None}])
