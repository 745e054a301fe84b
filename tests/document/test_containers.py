"""The read-only containers: native reading, loud refusal of writing, copies made in one go."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from typing import Any

import pytest

from memsync.document import (
    ReadOnlyDict,
    ReadOnlyList,
    containers_in,
    make_live,
    replace_content,
    replay,
    to_plain,
)

from .document_strategies import text

STATE: dict[str, Any] = {"foo": 1, "items": 2, "a": {"b": [1, {"c": 2}], "n": None}, "l": [1, 2]}


@pytest.fixture
def live() -> Any:
    return make_live(STATE, threading.RLock())


def test_reading_is_inherited() -> None:
    for name in ("__getitem__", "__len__", "__contains__", "get"):
        assert name not in vars(ReadOnlyDict)
    for name in ("__getitem__", "__len__"):
        assert name not in vars(ReadOnlyList)


def test_attributes(live: Any) -> None:
    assert live.foo == 1
    assert live.a.b[1].c == 2
    assert live.a.n is None
    assert callable(live.items)
    for name in ("nope", "_foo", "__wrapped__"):
        with pytest.raises(AttributeError):
            getattr(live, name)
    assert make_live({"_x": 1, "_guard": 2}, None)._guard is None
    with pytest.raises(AttributeError):
        _ = live.l.foo
    assert ReadOnlyDict(a=1)._guard is None
    assert ReadOnlyList([1])._guard is None


WRITES = [
    "d['x'] = 1", "d.x = 1", "d['foo'] = 1", "del d['foo']", "del d.foo", "d.clear()",
    "d.pop('foo')", "d.popitem()", "d.setdefault('x', 1)", "d.update(x=1)", "d |= {'x': 1}",
    "l[0] = 1", "l[0:1] = []", "del l[0]", "l.append(1)", "l.extend([1])", "l.insert(0, 1)",
    "l.pop()", "l.remove(1)", "l.clear()", "l.sort()", "l.reverse()", "l += [1]", "l *= 2",
    "l.x = 1", "d['a']['b'][1]['c'] = 1", "d['a']['b'] += [1]",
]  # fmt: skip


@pytest.mark.parametrize("statement", WRITES)
@pytest.mark.parametrize("form", ["live", "detached"])
def test_writing_is_refused_and_says_how_to_write(live: Any, statement: str, form: str) -> None:
    root = live if form == "live" else make_live(STATE, None)
    with pytest.raises(TypeError, match=r"patch.*edit"):
        exec(statement, {}, {"d": root, "l": root["l"]})
    assert text(to_plain(root)) == text(STATE)


def test_what_is_reached_by_iterating_cannot_be_written_either(live: Any) -> None:
    for value in [*live.values(), *(value for _, value in live.items()), *live.a.b]:
        if isinstance(value, dict | list):
            with pytest.raises(TypeError):
                value.clear()


def test_works_like_its_plain_value(live: Any) -> None:
    assert json.dumps(live) == json.dumps(STATE)
    assert json.dumps(live, indent=1, sort_keys=True) == json.dumps(STATE, indent=1, sort_keys=True)
    assert (repr(live), str(live), f"{live.l}") == (repr(STATE), str(STATE), "[1, 2]")
    assert list(live) == list(STATE)
    assert list(reversed(live)) == list(reversed(STATE))
    assert live.keys() == STATE.keys()
    assert list(live.values()) == list(STATE.values())
    assert dict(live.items()) == dict(live) == {**live} == STATE
    assert live == STATE
    assert live == STATE
    assert live == make_live(STATE, None)
    assert live.__ne__(STATE) is False
    assert live != {}
    assert live | {"z": 1} == STATE | {"z": 1}
    assert {"z": 1} | live == {"z": 1} | STATE
    assert live | make_live({"q": 1}, None) == STATE | {"q": 1}


def test_lists_work_like_their_plain_value(live: Any) -> None:
    plain, view = STATE["l"], live.l
    assert view == plain
    assert plain == view
    assert view.__ne__(plain) is False
    assert (view < [9], view <= [1, 2], view > [0], view >= [1, 2]) == (True, True, True, True)
    tail, head = [3], [0]
    assert view + tail == [1, 2, 3]
    assert head + view == [0, 1, 2]
    assert view + view == [1, 2, 1, 2]
    assert view * 2 == 2 * view == [1, 2, 1, 2]
    assert (view[0], view[-1], view[0:1], view[::-1]) == (1, 2, [1], [2, 1])
    assert list(reversed(view)) == [2, 1]
    assert sorted(view, reverse=True) == [2, 1]
    assert (1 in view, 7 in view) == (True, False)
    assert {"c": 2} in live.a.b
    assert (view.index(2), view.index(2, 1), view.count(1)) == (1, 1, 1)
    with pytest.raises(TypeError):
        hash(view)
    with pytest.raises(TypeError):
        hash(live)


@pytest.mark.parametrize(
    "clone",
    [
        copy.copy,
        copy.deepcopy,
        lambda value: value.copy(),
        lambda value: pickle.loads(pickle.dumps(value)),
    ],
    ids=["copy", "deepcopy", "method", "pickle"],
)
def test_copies_are_plain(live: Any, clone: Any) -> None:
    for view in (live, live.a.b):
        copied = clone(view)
        assert type(copied) in (dict, list)
        assert copied == view
    copied = clone(live)
    copied["a"]["b"][1]["c"] = 5
    assert live.a.b[1].c == 2


def test_the_guard_is_held_for_every_copy_and_for_no_field() -> None:
    class Guard:
        held = 0

        def __enter__(self) -> None:
            self.held += 1

        def __exit__(self, *exc_info: Any) -> None:
            pass

    guard = Guard()
    root = make_live({"flat": {"a": 1}, "deep": [[1]]}, guard)
    assert (root["flat"]["a"], root.flat.get("b"), len(root.deep), "flat" in root) == (
        1,
        None,
        1,
        True,
    )
    assert guard.held == 0
    for copying in (
        lambda: list(root.flat.items()),
        lambda: repr(root.flat),
        lambda: root.flat == {"a": 1},
        lambda: list(root),
        lambda: list(reversed(root)),
        lambda: list(root.keys()),
        lambda: dict(root),
        lambda: list(root.deep),
        lambda: root.deep[0] + [2],
        lambda: json.dumps(root),
    ):
        guard.held = 0
        copying()
        assert guard.held == 1


def test_iterating_never_raises_and_never_tears_while_another_thread_writes() -> None:
    guard = threading.RLock()
    root = make_live({"pair": {"x": 0, "y": [0]}, "keys": {}}, guard)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            operations = [
                {"op": "replace", "path": "/pair/x", "value": number},
                {"op": "replace", "path": "/pair/y/0", "value": number},
                {"op": "add", "path": f"/keys/{number}", "value": number},
            ]
            if number > 20:
                operations.append({"op": "remove", "path": f"/keys/{number - 20}"})
            with guard:
                replay(root, operations)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(1500):
            seen = json.loads(json.dumps(root))
            assert seen["pair"]["x"] == seen["pair"]["y"][0]
            assert len(seen["keys"]) <= 21
            for name, value in root["keys"].items():
                assert str(value) == name
            [*root["keys"]], repr(root["keys"]), root == {}, root["keys"] | {}
    finally:
        stop.set()
        writer.join()


class TestInstall:
    def test_an_empty_root_gets_live_copies_in_order(self) -> None:
        state: dict[str, Any] = {"b": {"n": [1, {"x": 2}]}, "a": 1}
        root = make_live({}, threading.RLock())
        replace_content(root, state)
        assert list(root) == ["b", "a"]
        assert root == state
        assert type(dict.__getitem__(root, "b")) is ReadOnlyDict
        state["b"]["n"][1]["x"] = 3
        assert root["b"]["n"][1]["x"] == 2

    @pytest.mark.parametrize(
        "state",
        [
            {},
            {"foo": 1},
            {"l": [1], "a": {}, "new": {"x": [1]}},
            {"new": 0, "foo": 1, "items": 2},
            {"a": [1], "l": {"x": 1}},
            {"l": [1, 2, {"x": 1}, [3]], "foo": 1.0},
            STATE,
        ],
        ids=text,
    )
    @pytest.mark.parametrize("plain", [False, True])
    def test_makes_equal_in_place(self, live: Any, state: Any, plain: bool) -> None:
        root = to_plain(live) if plain else live
        nested = root["a"]
        replace_content(root, state)
        assert text(root) == text(state)
        if isinstance(state.get("a"), dict):
            assert root["a"] is nested
        if not plain and "new" in state and isinstance(state["new"], dict):
            assert type(root["new"]) is ReadOnlyDict
            assert root["new"]._guard is live._guard

    def test_a_key_that_stays_is_never_missing(self) -> None:

        root = make_live({"a": 1, "b": {"n": 1}, "c": 3}, None)
        seen = []
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                seen.append("b" in root)

        reader = threading.Thread(target=read)
        reader.start()
        for number in range(2000):
            if number % 2:
                replace_content(root, {"b": {"n": number}, "c": number, "d": 1})
            else:
                replace_content(root, {"a": 1, "b": {}})
                replace_content(root, {"b": {"n": 1}, "c": 2})
        stop.set()
        reader.join()
        assert seen
        assert root["b"] == {"n": 1999}


@pytest.mark.parametrize("at", [0, 50, 99])
@pytest.mark.parametrize("value", [{}, [], {"a": 1}, [1]])
def test_containers_are_found_wherever_they_are_plain_and_live(at: int, value: Any) -> None:
    plain = {str(i): value if i == at else i for i in range(100)}
    live = make_live(plain, None)
    assert containers_in(plain) == containers_in(live) == {str(at): value}
    assert containers_in(live)[str(at)] is live[str(at)]
    assert containers_in(dict.fromkeys("abc")) == {}
