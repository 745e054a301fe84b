"""Copies of a live container that C code makes: ``{**view}``, ``dict(view)``, ``call(**view)``."""

from __future__ import annotations

import copy
import operator
import sys
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator, KeysView
from contextlib import contextmanager
from typing import Any

import pytest

from memsync.document import ReadOnlyDict, make_live, replay


def called(**fields: Any) -> dict[str, Any]:
    return fields


def updated(view: Any) -> dict[str, Any]:
    target: dict[str, Any] = {}
    target.update(view)
    return target


DICTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "unpacked": lambda view: {**view},
    "dict": dict,
    "dict with more": lambda view: dict(view, more=1),
    "call": lambda view: called(**view),
    "call with more": lambda view: called(more=1, **view),
    "update": updated,
    "or": lambda view: view | {},
    "or of a dict": lambda view: {} | view,
    "copy.copy": copy.copy,
    "copy": lambda view: view.copy(),
    "items": lambda view: dict(view.items()),
    "OrderedDict": OrderedDict,
    "defaultdict": lambda view: defaultdict(int, view),
    "Counter": Counter,
    "class": lambda view: {k: v for k, v in vars(type("C", (), view)).items() if k[0] != "_"},
}
LISTS: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "unpacked": lambda view: [*view],
    "tuple": tuple,
    "call": lambda view: (lambda *items: items)(*view),
    "sorted": sorted,
    "copy.copy": copy.copy,
    "plus": lambda view: operator.add(view, []),
    "slice": lambda view: view[:],
    "extend": lambda view: [].__iadd__(view),
    "set": lambda view: sorted(set(view)),
}


class Adversary:
    """A guard whose every release is followed by a change of another thread."""

    def __init__(self) -> None:
        self.view: Any = None
        self.turn = 0

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        if self.view is not None:
            self.turn += 1
            dict.pop(self.view, f"a{self.turn - 1}")
            dict.__setitem__(self.view, f"a{self.turn}", self.turn)
            dict.__setitem__(self.view, "x", self.turn)


@pytest.mark.parametrize("way", DICTS)
def test_a_key_that_goes_meanwhile_is_no_error(way: str) -> None:
    guard = Adversary()
    view = make_live({"x": 0, "a0": 0}, guard)
    guard.view = view
    for _ in range(3):
        copied = DICTS[way](view)
        copied.pop("more", None)
        assert sorted(copied.values()) == [copied["x"]] * 2
        assert f"a{copied['x']}" in copied


@contextmanager
def written_by_a_thread() -> Iterator[ReadOnlyDict]:
    """A live dict that another thread changes all the time, in steps of several operations."""
    guard, stop = threading.RLock(), threading.Event()
    view = make_live({"x": 0, "a0": 0, "l": [0], "z": 0}, guard)

    def write() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            operations: list[dict[str, Any]] = [
                {"op": "replace", "path": "/x", "value": turn},
                {"op": "remove", "path": f"/a{turn - 1}"},
                {"op": "replace", "path": "/l", "value": [turn] * (1 + turn % 20)},
                {"op": "add", "path": f"/a{turn}", "value": turn},
                {"op": "replace", "path": "/z", "value": turn},
            ]
            with guard:
                replay(view, operations, fit=True)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield view
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_copies_show_one_moment_while_a_thread_writes() -> None:
    with written_by_a_thread() as view:
        for make in list(DICTS.values()) * 150:
            copied = make(view)
            turn = copied["x"]
            assert copied["z"] == copied[f"a{turn}"] == turn
            assert f"a{turn - 1}" not in copied
            assert set(view.keys()) >= {"x", "z"}
        for make_list in list(LISTS.values()) * 150:
            items = make_list(view["l"])
            assert len(set(items)) == 1


def test_keys_are_those_of_a_dict() -> None:
    plain: dict[str, int] = {"a": 1, "b": 2}
    view = make_live(plain, threading.RLock())
    keys: Any = view.keys()
    same: Any = plain.keys()
    assert isinstance(view.keys(), KeysView)
    assert (list(keys), list(reversed(keys)), len(keys)) == (["a", "b"], ["b", "a"], 2)
    assert ("a" in keys, "c" in keys, repr(keys)) == (True, False, repr(same))
    assert keys == same == keys == {"a", "b"}
    assert (keys != same, keys < {"a", "b", "c"}, keys <= same, keys > {"a"}, keys >= same) == (
        *(False, True, True, True),
        True,
    )
    assert (keys & {"a"}, keys | {"c"}, keys - {"a"}, keys ^ {"a"}) == (
        *({"a"}, {"a", "b", "c"}, {"b"}),
        {"b"},
    )
    assert ({"a"} & keys, {"c"} | keys, {"a", "c"} - keys, {"a"} ^ keys) == (
        *({"a"}, {"a", "b", "c"}, {"c"}),
        {"b"},
    )
    assert keys & view.keys() == {"a", "b"}
    assert keys.isdisjoint({"c"})
    assert not keys.isdisjoint(same)
    assert keys.mapping == plain
    with pytest.raises(TypeError):
        hash(keys)


def test_an_iterator_over_the_keys_holds_no_lock_and_sees_no_later_key() -> None:
    guard = threading.RLock()
    view = make_live({"a": 1, "b": 2}, guard)
    unused, begun = iter(view.keys()), iter(view.keys())
    assert next(begun) == "a"
    taken = []

    def take() -> None:
        taken.append(guard.acquire(timeout=5))
        guard.release()

    other = threading.Thread(target=take)
    other.start()
    other.join()
    assert taken == [True]
    dict.__setitem__(view, "c", 3)
    assert list(begun) == ["b"]
    assert list(unused) == ["a", "b", "c"]
