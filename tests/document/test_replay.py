"""Replaying several operations: judged one by one where they have nothing to do with each other.

That must never let something pass which trying them all on an overlay would refuse.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsync.document import make_live, replay, to_plain
from memsync.document.foreign_writes import ForeignWriteError
from memsync.document.live import replay as module
from memsync.document.live import run
from memsync.errors import MemSyncError

from .document_strategies import documents


def places(value: Any, path: str = "") -> list[str]:
    """Pointers into a value, some of which lead nowhere."""
    found = [f"{path}/new", f"{path}/0", f"{path}/-"]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, item in items:
        found.append(f"{path}/{str(name).replace('~', '~0').replace('/', '~1')}")
        if isinstance(item, (dict, list)):
            found += places(item, found[-1])
    if isinstance(value, list):
        found.append(f"{path}/{len(value)}")
    return found


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    document = draw(documents)
    pointer = st.sampled_from(places(document))
    kind = st.sampled_from(["add", "remove", "replace"])
    value = st.sampled_from([1, {}, [], {"x": [1]}])
    operation = st.fixed_dictionaries({"op": kind, "path": pointer, "value": value})
    return document, draw(st.lists(operation, min_size=2, max_size=5))


@st.composite
def siblings(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Operations on the fields of one container, mostly."""
    document = draw(documents)
    pointers = places(document)
    parent = draw(st.sampled_from(pointers)).rpartition("/")[0]
    names = [each for each in pointers if each.rpartition("/")[0] == parent]
    names += [f"{parent}/{name}" for name in "xyz"]
    pointer = st.one_of(st.sampled_from(names), st.sampled_from([*names, *pointers, "", "x", 1]))
    kind = st.sampled_from(["add", "add", "replace", "replace", "remove"])
    value: st.SearchStrategy[Any] = st.sampled_from([1, "1", None, {}, [], {"x": [1]}])
    operation = st.fixed_dictionaries({"op": kind, "path": pointer, "value": value})
    return document, draw(st.lists(operation, min_size=2, max_size=4))


def outcome(function: Any, document: Any, operations: Any) -> tuple[str, str]:
    """The document afterwards, in order, and whether it was refused."""
    try:
        function(document, operations)
    except MemSyncError as error:
        return json.dumps(document), type(error).__name__
    return json.dumps(document), ""


def live(document: dict[str, Any]) -> Any:
    """The document as a peer shows it."""
    return make_live(document, nullcontext())


CONVERSIONS: list[Callable[[dict[str, Any]], Any]] = [to_plain, live]


@given(siblings())
def test_a_run_does_what_trying_all_of_it_first_does(case: Any) -> None:
    document, operations = case
    with mock.patch.object(run, "SHORTEST", 2):
        for convert in CONVERSIONS:
            tried = outcome(module._replay_checked, convert(document), operations)
            assert outcome(replay, convert(document), operations) == tried


@pytest.mark.parametrize(
    "last",
    [{}, {"op": "add"}, {"op": "add", "path": "/x"}, {"op": [], "path": "/x", "value": 1}, 1, "op"],
)
def test_a_malformed_operation_ends_no_run(last: Any) -> None:
    document: dict[str, Any] = {}
    operations = [{"op": "add", "path": f"/{n}", "value": n} for n in range(2 * run.SHORTEST)]
    replay(document, operations)
    assert list(document) == [str(n) for n in range(2 * run.SHORTEST)]
    before = dict(document)
    with pytest.raises(MemSyncError):
        replay(document, [*operations, last])
    assert document == before


def test_a_run_in_a_container_that_other_code_has_changed_is_refused() -> None:
    view = live({"a": {}})
    dict.__setitem__(view["a"], "x", 1)
    operations = [{"op": "add", "path": f"/a/{n}", "value": n} for n in range(run.SHORTEST)]
    with pytest.raises(ForeignWriteError):
        replay(view, operations)
    assert len(view["a"]) == 1


@given(cases())
def test_it_does_what_trying_all_of_it_first_does(case: Any) -> None:
    document, operations = case
    tried = outcome(module._replay_checked, to_plain(document), operations)
    assert outcome(replay, to_plain(document), operations) == tried
    if tried[1]:
        assert tried[0] == json.dumps(document)  # all or nothing
    else:
        fit = to_plain(document)
        replay(fit, operations, fit=True)
        assert json.dumps(fit) == tried[0]


DOCUMENT = {"n": 1, "o": {"x": 1}, "list": [1, {"y": 2}, 3]}


def put(path: str, kind: str = "replace") -> dict[str, Any]:
    return {"op": kind, "path": path, "value": 9}


@pytest.mark.parametrize(
    "operations",
    [
        [put("/n"), put("/o/x")],
        [put("/list/3", "add"), put("/list/4", "add"), put("/n")],
        [put("/list/0", "remove"), put("/list/0", "remove"), put("/o/new", "add")],
        [put("/list/-", "add"), put("/list/-", "add"), put("/list/0")],
        [put("/list/1/y"), put("/list/0")],
    ],
)
def test_what_is_independent_needs_no_overlay(operations: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "DryRun", None)
    replay(to_plain(DOCUMENT), operations)


@pytest.mark.parametrize(
    "operations",
    [
        [put("/o"), put("/o/x")],
        [put("/o/x"), put("/o")],
        [put("/n"), put("/n", "remove")],
        [put("/list/0", "remove"), put("/list/0/y")],
        [put("/list/1"), put("/list/1/y")],
        [put("/list/0", "remove"), put("/list/2")],
        [put("/list/4", "add"), put("/n")],
        [put("/missing"), put("/n")],
        [put("/n/deeper", "add"), put("/o/x")],
        [{"op": "replace", "path": ""}, put("/n")],
        [{"op": "replace", "path": "", "value": {}}, put("/n", "add")],
        [{"op": "test", "path": "/n", "value": 1}, put("/n")],
        [{"op": "replace", "path": 5, "value": 1}, put("/n")],
        [{"path": "/n"}, put("/n")],
        [{"op": "replace", "path": "/n"}, put("/o/x")],
        [put("nonsense"), put("/n")],
    ],
)
def test_what_hangs_together_or_does_not_fit_is_tried(operations: Any) -> None:
    assert not module._each_fits(to_plain(DOCUMENT), operations)


def test_what_cannot_be_tried_changes_nothing() -> None:
    document = to_plain(DOCUMENT)
    with pytest.raises(MemSyncError):
        replay(document, [put("/n"), put("/missing")])
    assert document == DOCUMENT
