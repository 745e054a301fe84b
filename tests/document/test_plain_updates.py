"""Updates of the usual form take a short way; its result is that of the general way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from memsync.document import apply_patch, compile_update
from memsync.document.paths import are_plain, field_order
from memsync.document.update import plain
from memsync.document.update.compile import checked_by_plan, planned_operations
from memsync.document.update.operators import Context
from memsync.document.update.plain import checked_plain, plain_operations
from memsync.errors import MemSyncError

from .document_strategies import OPERANDS, text, updates, values
from .document_strategies import documents as any_documents

CONTEXT = Context(datetime(2026, 1, 1, tzinfo=UTC), False)

_names = st.sampled_from(["a", "b", "c", "d", "2", "10", "1x", "-", "x y", "id"])
_paths = st.lists(_names, min_size=1, max_size=3).map(".".join)
_known = sorted(OPERANDS.keys() - {"$rename"})


def _fields(name: str) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    operands = st.one_of(OPERANDS[name], values, st.just(float("nan")))
    return st.dictionaries(_paths, operands, max_size=5).map(lambda fields: (name, fields))


plain_updates = st.lists(st.sampled_from(_known).flatmap(_fields), min_size=1, max_size=3).map(dict)
_objects = st.dictionaries(_names, values, max_size=5)
documents = st.dictionaries(_names, st.one_of(values, _objects), max_size=7)


def outcome(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except MemSyncError as error:
        return type(error), str(error)


def in_any_order(operations: list[dict[str, Any]]) -> list[str]:
    return sorted(map(text, operations))


@pytest.fixture(params=[0, 32])
def wide(request: pytest.FixtureRequest) -> Iterator[None]:
    """Updates of few fields are treated as those of many, or as usual."""
    with mock.patch.object(plain, "_MAX_CACHED_PATHS", request.param):
        yield


_several = st.sampled_from(["", "a.", "b.", "a.b."]).flatmap(
    lambda above: st.dictionaries(_names.map(lambda name: above + name), values, min_size=1)
)
wide_updates = _several.map(lambda fields: {"$set": fields})


@pytest.mark.usefixtures("wide")
@settings(
    deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.one_of(documents, any_documents), st.one_of(plain_updates, updates, wide_updates))
@example({"a": 1}, {"$set": {"b": {}, "a": 1, "2": 0, "10": []}})
@example({"a": {"b": 1}}, {"$inc": {"a.b": 1, "c": 1}, "$set": {"a.10": 1, "a.9": 2}})
@example({"a": "s"}, {"$inc": {"a": 1}, "$set": {"b": float("nan")}})
def test_both_ways_compile_an_update_to_the_same(document: Any, update: Any) -> None:
    short = plain_operations(document, update, CONTEXT)
    if short is None:
        return  # the general way decides
    general = outcome(planned_operations, document, update, None, None, CONTEXT)
    assert in_any_order(short) == in_any_order(general)
    assert text(apply_patch(document, short)) == text(apply_patch(document, general))


@pytest.mark.usefixtures("wide")
@settings(
    deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.one_of(plain_updates, updates, wide_updates))
@example({"$set": {"a": 1, "b": float("nan")}, "$inc": {"c": "x"}})
@example({"$set": {"a": 1}, "$inc": {"a.b": 1}})
def test_both_ways_check_an_update_alike(update: Any) -> None:
    short = outcome(checked_plain, update)
    if short is None:
        return
    general = outcome(checked_by_plan, update, [])
    assert short == general
    if isinstance(short, dict):
        assert text(short) == text(general)


def test_usual_updates_take_the_short_way() -> None:
    document = {"n": 1, "users": {"7": {"name": "x"}}}
    usual: list[dict[str, Any]] = [
        {"$inc": {"n": 1}},
        {"$set": {"new": 1, "users.7.name": "y", "users.8": {}}, "$unset": {"n": ""}},
        {"$push": {"list": 1}},
        {"$set": {}},
    ]
    for update in usual:
        assert plain_operations(document, update, CONTEXT) is not None
        assert checked_plain(update) == update


def test_a_checked_update_shares_nothing_with_the_original() -> None:
    original: dict[str, Any] = {"$set": {"a": {"b": [1]}}, "$push": {"c": {"$each": [[2]]}}}
    checked = checked_plain(original)
    assert checked == original
    original["$set"]["a"]["b"].append(2)
    original["$push"]["c"]["$each"][0].append(3)
    assert checked == {"$set": {"a": {"b": [1]}}, "$push": {"c": {"$each": [[2]]}}}


class Name(str):
    """A name with a mind of its own."""

    def rpartition(self, separator: str) -> Any:
        return "x", ".", "y"


@pytest.mark.parametrize(
    "path",
    ["", "a.", ".a", "a..b", "$a", "a.$", "a.$[]", "a/b", "a~b", "é", "a.01", "x" * 151, 1, Name()],
)
def test_what_needs_parsing_is_not_plain(path: Any) -> None:
    assert not are_plain([path])
    assert not are_plain(["n", path])
    assert not are_plain([path, "n"])


def test_a_thousand_fields_are_added_in_the_servers_order() -> None:
    names = [str(number) for number in range(1000)]
    operations = compile_update({"users": {}}, {"$set": {f"users.{name}": 1 for name in names}})
    assert [operation["path"] for operation in operations] == [f"/users/{name}" for name in names]
    assert sorted(reversed(names), key=field_order) == names
