"""The hook in front of each read of a live container."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from memsync.document import (
    ReadOnlyDict,
    ReadOnlyList,
    hook_reads,
    inherited,
    make_live,
    note_sizes,
    set_aside,
    take_back,
    unhook_reads,
)
from memsync.document.containers import is_touched

KINDS = (ReadOnlyDict, ReadOnlyList)


@pytest.fixture(autouse=True)
def classes() -> Iterator[None]:
    before = [dict(vars(kind)) for kind in KINDS]
    yield
    unhook_reads()
    assert [dict(vars(kind)) for kind in KINDS] == before


@pytest.fixture
def view() -> Any:
    return make_live({"a": {"b": [1, {"c": 2}]}, "n": 3}, None)


def test_a_hooked_container_reads_as_before(view: Any) -> None:
    reads: list[Any] = []
    hook_reads(lambda container: reads.append(id(container)))
    assert view["a"]["b"][1]["c"] == view.a.b[1].c == 2
    assert (len(view), "n" in view, view.get("n"), view.get("x", 4)) == (2, True, 3, 4)
    assert view == {"a": {"b": [1, {"c": 2}]}, "n": 3}
    for wrong, error in (("x", KeyError), (0, KeyError)):
        with pytest.raises(error):
            view[wrong]
    with pytest.raises(AttributeError):
        _ = view.x
    with pytest.raises(TypeError):
        view["a"] = 1
    assert id(view) in reads

    unhook_reads()
    reads.clear()
    assert view["n"] == 3
    assert not reads


def test_what_is_set_aside_stays_hooked(view: Any) -> None:
    reads: list[Any] = []
    b = view["a"]["b"]
    inmost = b[1]
    other = make_live({"n": 1}, None)
    hook_reads(lambda container: reads.append(id(container)))
    set_aside(view)
    set_aside(view)
    unhook_reads()

    assert (view["n"], b[0], inmost["c"], len(b), [*b]) == (3, 1, 2, 2, [1, {"c": 2}])
    assert {id(view), id(b), id(inmost)} <= set(reads)
    reads.clear()
    assert other["n"] == 1
    assert not reads
    with pytest.raises(TypeError):
        b.append(1)

    take_back(view)
    take_back(view)
    reads.clear()
    assert (view["n"], b[0], inmost["c"]) == (3, 1, 2)
    assert not reads
    assert (type(view), type(b), type(inmost)) == (ReadOnlyDict, ReadOnlyList, ReadOnlyDict)


def test_sizes_are_noted_in_all_containers(view: Any) -> None:
    list.append(view["a"]["b"], 4)
    dict.__setitem__(view["a"], "x", 5)
    assert is_touched(view["a"])
    note_sizes(view)
    assert not any(map(is_touched, (view, view["a"], view["a"]["b"])))


def test_a_container_inside_itself_ends_no_walk(view: Any) -> None:
    dict.__setitem__(view["a"], "b", view)
    set_aside(view)
    take_back(view)
    assert type(view) is ReadOnlyDict


def test_a_reload_keeps_the_hooks(view: Any) -> None:
    calls: list[Any] = []
    aside = make_live({"n": 1}, None)
    hook_reads(calls.append)
    set_aside(aside)
    importlib.reload(inherited)
    assert (view["n"], view.n, len(view)) == (3, 3, 2)
    assert len(calls) == 3

    unhook_reads()
    calls.clear()
    assert view["n"] == 3
    assert not calls
    assert aside["n"] == 1
    assert calls


def test_a_reload_hooks_nothing(view: Any) -> None:
    importlib.reload(inherited)
    assert (view["n"], type(view).__getitem__) == (3, dict.__getitem__)
    calls: list[Any] = []
    inherited.hook_reads(calls.append)
    assert view["n"] == 3
    assert calls
