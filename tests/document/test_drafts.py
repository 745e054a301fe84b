"""Drafts: they edit like plain values, and the patch is guarded by all that was read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memsync.document import Draft, apply_patch, compile_patch, make_live
from memsync.document.live.draft import DraftDict, DraftList
from memsync.errors import ConflictError, NotSerializableError

from .document_strategies import NAMES, copied, documents, text, values


def op(kind: str, path: str, **members: Any) -> dict[str, Any]:
    return {"op": kind, "path": path, **members}


STATE: dict[str, Any] = {"n": 1, "cart": {"n": 2, "tags": ["x"]}, "l": [{"s": 0}, 5], "e": []}


def run(statements: str, state: dict[str, Any] = STATE) -> list[dict[str, Any]]:
    """The patch of a draft after statements, which do the same to a plain value."""
    draft, plain = Draft(make_live(state, None)), copied(state)
    exec(statements, {}, {"d": draft.root})
    exec(statements, {}, {"d": plain})
    patch = draft.patch()
    assert text(apply_patch(state, patch)) == text(plain)
    return patch


GUARDED: list[tuple[str, list[dict[str, Any]]]] = [
    ("d['n'] += 1", [op("test", "/n", value=1), op("replace", "/n", value=2)]),
    ("d['cart']['n'] += 1", [op("test", "/cart/n", value=2), op("replace", "/cart/n", value=3)]),
    ("d['x'] = 1", [op("test", "/x", absent=True), op("add", "/x", value=1)]),
    (
        "d.get('x'); d['n'] = 1.0",
        [op("test", "/x", absent=True), op("test", "/n", value=1), op("replace", "/n", value=1.0)],
    ),
    ("del d['n']", [op("test", "/n", value=1), op("remove", "/n")]),
    (
        "v = d.pop('n'); d['n'] = v",
        [op("test", "/n", value=1), op("remove", "/n"), op("add", "/n", value=1)],
    ),
    (
        "d['cart'] = 1",
        [op("test", "/cart", value=STATE["cart"]), op("replace", "/cart", value=1)],
    ),
    (
        "if 'cart' in d: d['n'] = 7",
        [
            op("test", "/cart", absent=False),
            op("test", "/n", value=1),
            op("replace", "/n", value=7),
        ],
    ),
    (
        "d['l'][1] = 6",
        [
            op("test", "/l", type="array"),
            op("test", "/l/1", value=5),
            op("replace", "/l/1", value=6),
        ],
    ),
    ("d['l'].append(1)", [op("test", "/l", type="array"), op("add", "/l/-", value=1)]),
    ("d['l'] += [1]", [op("test", "/l", type="array"), op("add", "/l/-", value=1)]),
    (
        "d['l'][0]['s'] = 1; d['l'].insert(0, 9)",
        [
            op("test", "/l", value=STATE["l"]),
            op("add", "/l/0", value=9),
            op("replace", "/l/1/s", value=1),
        ],
    ),
    (
        "d['x'] = len(d['cart'])",
        [
            op("test", "/x", absent=True),
            op("test", "/cart", value=STATE["cart"]),
            op("add", "/x", value=2),
        ],
    ),
    (
        "d['x'] = {'a': []}; d['x']['a'].append(1)",
        [op("test", "/x", absent=True), op("add", "/x", value={"a": [1]})],
    ),
    ("d['x'] = 1; d['x'] = 2; d.pop('x')", []),
    ("d['n'] = 1", []),
    ("d['cart'] = {'n': 2, 'tags': ['x']}", []),
    ("d['l'][1] = 5", []),
    ("len(d); list(d['l']); d['cart'] == {}", []),
]


@pytest.mark.parametrize(("statements", "patch"), GUARDED, ids=[case[0] for case in GUARDED])
def test_what_was_read_or_changed_is_tested(statements: str, patch: list[Any]) -> None:
    found = run(statements)
    key = text
    tests = sorted((item for item in found if item["op"] == "test"), key=key)
    wanted = sorted((item for item in patch if item["op"] == "test"), key=key)
    assert tests == wanted
    assert found[len(tests) :] == [item for item in patch if item["op"] != "test"]


@pytest.mark.parametrize(
    "statements",
    [
        "d['l'].sort(key=str)",
        "d['l'].reverse()",
        "del d['l'][0]",
        "d['l'][-1] = 3",
        "d['l'].pop(0)",
        "d['l'].append(1); d['l'][2] = 4",
        "d['l'].append({'q': 1}); d['l'][2]['q'] = 2; d['l'].remove(5)",
        "d['l'][1] = {'k': 1}; d['l'][1]['k'] = 2; d['l'].insert(0, 1)",
        "d['l'][0]['s'] = [1]; d['l'][0]['s'].append(2)",
        "d['cart']['tags'].append('y'); list(d['cart']); d['cart']['z'] = 1",
        "list(d); d['cart']['n'] = 9; del d['e']; d['e'] = 3",
        "d['cart']['n'] = 8; d['copy'] = d['cart']",
        "d['nest'] = {'c': d['cart'], 'l': [d['l']]}",
        "d.update(x=1, n=2); d.setdefault('n', 5); d.setdefault('y', []).append(1)",
        "d.clear()",
        "d['n'] = {'a': 1}; d['n']['b'] = 2",
        "d['l'] = d['l']",
    ],
)
def test_edits_like_a_plain_value(statements: str) -> None:
    patch = run(statements)
    if patch:
        root = make_live(STATE, None)
        assert compile_patch(root, patch)


def test_reads_like_a_plain_value() -> None:
    root = Draft(make_live(STATE, None)).root
    assert root == STATE
    assert (repr(root), repr(root["l"]), len(root["l"]), list(root)) == (
        repr(STATE),
        repr(STATE["l"]),
        2,
        list(STATE),
    )
    assert root["l"] == STATE["l"]
    assert root["l"] != "x"
    assert root["l"][0:1] == [{"s": 0}]
    assert 5 in root["l"]
    wrong_reads: list[Callable[[], object]] = [
        lambda: root["nope"],
        lambda: root.pop("nope"),
        lambda: root["cart"]["x"],
    ]
    for wrong in wrong_reads:
        with pytest.raises(KeyError):
            wrong()
    with pytest.raises(IndexError):
        root["l"][9]
    del root["n"]
    with pytest.raises(KeyError):
        del root["n"]
    with pytest.raises(KeyError):
        root["n"]
    with pytest.raises(KeyError):
        del root["never"]


def test_values_are_checked_where_they_are_set() -> None:
    root: Any = Draft({"l": [1]}).root
    wrong_writes: list[Callable[[], object]] = [
        lambda: root.__setitem__("a", {1}),
        lambda: root.__setitem__(1, 1),
        lambda: root["l"].append(b""),
        lambda: root["l"].insert(0, object()),
        lambda: root["l"].__setitem__(0, (1,)),
    ]
    for wrong in wrong_writes:
        with pytest.raises(NotSerializableError):
            wrong()
    root["a"] = []
    root["a"].append({1})
    with pytest.raises(NotSerializableError):
        Draft.patch(type("D", (), {"root": root})())


def test_a_change_by_others_to_what_was_read_is_a_conflict() -> None:
    draft = Draft(make_live(STATE, None))
    if draft.root["n"] == 1:
        draft.root["cart"]["n"] = 0
    patch = draft.patch()
    changed = copied(STATE)
    changed["n"] = 2
    with pytest.raises(ConflictError):
        compile_patch(changed, patch)
    changed["n"], changed["e"] = 1, [1]
    assert compile_patch(changed, patch) == [op("replace", "/cart/n", value=0)]


def test_guards_can_be_had_without_a_change() -> None:
    draft = Draft(make_live(STATE, None))
    _ = draft.root["n"]
    assert draft.patch() == []
    assert draft.guards() == [op("test", "/n", value=1)]


def test_a_value_read_twice_is_the_same_even_if_the_object_changes() -> None:
    state = copied(STATE)
    draft = Draft(state)
    assert draft.root["l"][0]["s"] == 0
    state["l"][0] = [1]
    state["n"] = 5
    assert draft.root["l"][0]["s"] == 0
    assert len(draft.root["l"]) == 2
    draft.root["n"] += 1
    with pytest.raises(ConflictError):
        compile_patch(state, draft.patch())


def test_the_cost_follows_what_is_touched() -> None:
    class Counting(dict):  # type: ignore[type-arg]  # any dict
        def __iter__(self) -> Any:
            raise AssertionError("all keys were walked")

    big = Counting({str(number): {"n": number} for number in range(100_000)})
    draft = Draft({"big": big})
    draft.root["big"]["777"]["n"] += 1
    assert draft.patch() == [
        op("test", "/big", type="object"),
        op("test", "/big/777/n", value=777),
        op("replace", "/big/777/n", value=778),
    ]


actions = st.lists(
    st.tuples(
        st.lists(st.sampled_from([*NAMES, 0, 1, -1]), max_size=2),
        st.sampled_from(
            ["set", "pop", "append", "insert", "read", "len", "in", "equal", "reverse"]
        ),
        st.sampled_from(NAMES),
        st.integers(-3, 3),
        values,
    ),
    max_size=6,
)


def act(target: Any, action: Any) -> Any:
    """Do one thing to a draft or to a plain value; what came out, or the error's type."""
    route, kind, name, index, value = action
    try:
        for step in route:
            target = target[step]
        key = index if isinstance(target, list | DraftList) else name
        if kind == "set":
            target[key] = copied(value)
        elif kind == "pop":
            target.pop(key)
        elif kind == "append":
            target.append(copied(value))
        elif kind == "insert":
            target.insert(index, copied(value))
        elif kind == "read":
            return repr(target[key])
        elif kind == "len":
            return len(target)
        elif kind == "in":
            return value in target if isinstance(target, list | DraftList) else name in target
        elif kind == "equal":
            return target == value
        else:
            target.reverse()
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        return type(error)


@settings(deadline=None)
@given(documents, actions)
def test_any_edit_of_a_draft_is_the_edit_of_a_plain_value(document: Any, steps: Any) -> None:
    draft, plain = Draft(make_live(document, None)), copied(document)
    for step in steps:
        mine, theirs = act(draft.root, step), act(plain, step)
        assert mine == theirs, step
    patch = draft.patch()
    assert text(apply_patch(document, patch)) == text(plain)
    assert isinstance(draft.root, DraftDict)
