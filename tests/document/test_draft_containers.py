"""Drafts are dicts and lists: for programs, for the standard library, and for code in C."""

from __future__ import annotations

import collections.abc
import copy
import heapq
import json
import operator
import pickle
import pprint
from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec
import pytest

from memsync.document import Draft, apply_patch, compile_patch, make_live, normalize
from memsync.document.live import draft_part
from memsync.errors import ConflictError, NotSerializableError, UsageError

from .document_strategies import copied, text

STATE: dict[str, Any] = {
    "n": 1,
    "cart": {"n": 2, "tags": ["x"], "owner": {"name": "Ada"}},
    "l": [{"s": 0}, 5, [1, 2]],
    "q": [1, 4, 2, 9],
    "e": [],
    "o": {},
}


def draft_of(state: dict[str, Any] = STATE) -> Draft:
    return Draft(make_live(state, None))


def is_plain(value: Any) -> bool:
    """Whether a value consists of plain dicts and lists alone."""
    if isinstance(value, dict):
        return type(value) is dict and all(map(is_plain, value.values()))
    if isinstance(value, list):
        return type(value) is list and all(map(is_plain, value))
    return True


def guarded_paths(patch: list[dict[str, Any]]) -> set[str]:
    return {operation["path"] for operation in patch if operation["op"] == "test"}


# -- they are dicts and lists ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", [dict, list])
def test_each_method_of_a_dict_or_list_is_one_of_the_draft(kind: type) -> None:
    """A method that is inherited would read the storage without a note of it."""
    inherited = {"__class__", "__class_getitem__", "__doc__", "__getattribute__", "__init__"}
    inherited |= {"__init_subclass__", "__subclasshook__", "__sizeof__", "__hash__", "__new__"}
    if kind is dict:
        inherited |= {"__lt__", "__le__", "__gt__", "__ge__"}  # they refuse every dict
    part = type(draft_of().root["cart" if kind is dict else "l"])
    assert issubclass(part, kind)
    for name in set(vars(kind)) - inherited:
        assert getattr(part, name) is not getattr(kind, name) or name == "fromkeys", name


def test_a_draft_is_an_instance_of_all_that_a_dict_or_list_is_one_of() -> None:
    root = draft_of().root
    for kind in (dict, collections.abc.MutableMapping, collections.abc.Mapping):
        assert isinstance(root["cart"], kind)
    for other in (list, collections.abc.MutableSequence, collections.abc.Sequence):
        assert isinstance(root["l"], other)


def walked(value: Any) -> Any:
    """What programs that walk through JSON do: they ask for dict and list, and rebuild the type."""
    if isinstance(value, dict):
        return type(value)((name.upper(), walked(item)) for name, item in value.items())
    if isinstance(value, list):
        return type(value)(walked(item) for item in value)
    return value


def test_a_program_that_walks_through_json_gets_all_of_it() -> None:
    draft = draft_of()
    result = walked(draft.root)
    assert result == walked(STATE)
    assert is_plain(result)
    draft.root["n"] = 2
    assert "" in guarded_paths(draft.patch())


READERS: dict[str, Callable[[Any], Any]] = {
    "json.dumps": json.dumps,
    "json.dumps, sorted": lambda value: json.dumps(value, sort_keys=True),
    "json.dumps, indented": lambda value: json.dumps(value, indent=1),
    "msgspec.json": msgspec.json.encode,
    "msgspec.msgpack": msgspec.msgpack.encode,
    "msgspec.to_builtins": msgspec.to_builtins,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "pickle, 2": lambda value: pickle.loads(pickle.dumps(value, 2)),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "repr": repr,
    "str": str,
    "pformat": lambda value: pprint.pformat(value, sort_dicts=False, width=999),
    "dict or list": lambda value: dict(value) if isinstance(value, dict) else list(value),
    "unpacked": lambda value: {**value} if isinstance(value, dict) else [*value],
    "sorted": lambda value: sorted(map(str, value)),
    "tuple": tuple,
    "copy method": lambda value: value.copy(),
    "slice": lambda value: value[0:] if isinstance(value, list) else dict(value.items()),
    "last elements": lambda value: value[-2:] if isinstance(value, list) else [*value][-2:],
    "equality": lambda value: value == {"n": 2} or value == [1],
    "reflected": lambda value: value == {} or value != [],
    "order": lambda value: value >= value[:0] if isinstance(value, list) else value.keys() >= {"n"},
    "merged": lambda value: (
        operator.or_({"n": 0}, value) if isinstance(value, dict) else operator.add([0], value)
    ),
    "arguments": lambda value: (
        (lambda *a, **k: (a, k))(*value) if isinstance(value, list) else (lambda **k: k)(**value)
    ),
    "min": lambda value: min(map(str, value), default=""),
    "length": len,
    "truth": bool,
    "normalize": normalize,
    "zip": lambda value: list(zip(value, value, strict=True)),
    "dict.items": lambda value: list(
        dict.items(value) if isinstance(value, dict) else list.__iter__(value)
    ),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("place", ["cart", "l", "q", "e", "o", "cart.owner", "l.2"])
@pytest.mark.parametrize("filled", [0, 256])
def test_what_was_read_is_guarded_whatever_read_it(
    name: str, place: str, filled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draft_part, "FILLED_MAX", filled)
    read = READERS[name]
    draft, theirs = draft_of(), copied(STATE)
    mine = draft.root
    *route, last = place.split(".")
    for part in route:
        mine, theirs = mine[part], theirs[part]
    key: Any = int(last) if isinstance(mine, list) else last
    if filled == 0 and name in ("msgspec.json", "msgspec.msgpack", "msgspec.to_builtins"):
        if theirs[key]:
            with pytest.raises((TypeError, msgspec.MsgspecError)):
                read(mine[key])  # it does not take a large draft for an empty one
        return
    if filled == 0 and name == "dict.items":
        return
    result = read(mine[key])
    assert result == read(theirs[key])
    draft.root["n"] = 0
    patch = draft.patch()
    for change in ({"changed": 1}, ["changed"], None):
        changed = copied(STATE)
        at: Any = changed
        for part in route:
            at = at[part]
        at[key] = change
        with pytest.raises(ConflictError):
            compile_patch(changed, patch)


@pytest.mark.parametrize(
    "name", ["pickle", "pickle, 2", "copy.deepcopy", "msgspec.to_builtins", "normalize"]
)
def test_deep_copies_are_plain_and_independent(name: str) -> None:
    draft = draft_of()
    for place in ("cart", "l"):
        result = READERS[name](draft.root[place])
        assert is_plain(result)
        if isinstance(result, dict):
            result["owner"]["name"] = "Eve"
        else:
            result[0]["s"] = 9
    draft.root["n"] = 2
    assert apply_patch(STATE, draft.patch()) == {**STATE, "n": 2}


def test_the_empty_copy_of_a_draft_is_plain() -> None:
    root = draft_of().root
    made = [
        type(root)(a=1),
        type(root["l"])([1]),
        root.fromkeys("ab", 0),
        root | {},
        root["l"] + [],
    ]
    assert made[:3] == [{"a": 1}, [1], {"a": 0, "b": 0}]
    assert [type(value) for value in made] == [dict, list, dict, dict, list]


# -- C code that reads or writes the storage itself ------------------------------------------------


def test_code_in_c_changes_a_draft_as_it_changes_a_list() -> None:
    draft, plain = draft_of(), copied(STATE)
    for root in (draft.root, plain):
        heapq.heapify(root["q"])
        heapq.heappush(root["q"], 0)
        root["n"] = [heapq.heappop(root["q"]), heapq.heapreplace(root["q"], 7)]
        dict.__setitem__(root["o"], "new", 1)
        dict.pop(root["cart"], "n")
        list.append(root["e"], 3)
    patch = draft.patch()
    assert text(apply_patch(STATE, patch)) == text(plain)
    assert {"/q", "/o", "/cart", "/e"} <= guarded_paths(patch)


@pytest.mark.parametrize("place", ["q", "l"])
def test_code_in_c_cannot_take_a_large_draft_for_an_empty_one(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draft_part, "FILLED_MAX", 0)
    for spoil in (heapq.heappop, heapq.heapify, lambda value: heapq.heappush(value, 1)):
        draft = draft_of()
        with pytest.raises(TypeError, match="copy"):
            spoil(draft.root[place])
    draft = draft_of()
    list.append(draft.root[place], 1)
    with pytest.raises(UsageError, match="copy"):
        draft.patch()
    draft = draft_of()
    heapq.heappush(draft.root["q"].copy(), 3)
    assert draft.patch() == []


# -- values that were put in -----------------------------------------------------------------------


@pytest.mark.parametrize("filled", [0, 256])
def test_a_value_may_change_after_it_was_put_in(
    filled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draft_part, "FILLED_MAX", filled)
    draft, plain = draft_of(), copied(STATE)
    for root in (draft.root, plain):
        rows: list[Any] = [{"row": number} for number in range(9)]
        root["l"].append(rows[0])
        root["l"][1] = rows[1]
        root["cart"]["row"] = rows[2]
        root["e"] += [rows[3]]
        root["e"].insert(0, rows[4])
        root["o"].update(row=rows[5])
        root["o"].setdefault("other", rows[6])
        root["q"][1:1] = [rows[7]]
        root["deep"] = {"l": [rows[8]]}
        assert root["l"][-1] is rows[0]
        assert root["l"][1] is rows[1]
        assert root["cart"]["row"] is rows[2]
        assert root["o"]["other"] is rows[6]
        assert root["e"][0] is rows[4]
        for row in rows:
            row["x"] = [1]
            row["x"].append(root["n"])
    assert text(apply_patch(STATE, draft.patch())) == text(plain)


@pytest.mark.parametrize("filled", [0, 256])
@pytest.mark.parametrize(
    "take",
    [
        "part = root['l'].pop(0)",
        "part = root.pop('cart')",
        "part = root['cart']['owner']; del root['cart']['owner']",
        "part = root['l'][0]; root['l'].remove(part)",
        "part = root['l'][0]; root['l'].clear()",
        "part = root['cart']; root['cart'] = 1",
        "part = root['l'][0]; root['l'][0:1] = []",
        "part = root['cart'].popitem()[1]",
        "part = root['cart']",
        "part = [*root.values()][1]",
        "part = next(iter(root['l']))",
    ],
)
@pytest.mark.parametrize(
    "put",
    [
        "root['e'].append(part)",
        "root['e'].insert(0, part)",
        "root['moved'] = part",
        "root['o']['moved'] = part",
        "root['moved'] = {'deep': [part]}",
        "root['e'].extend([part, part])",
        "box = []; root['moved'] = box; box.append(part)",
        "root['l'][1] = part",
    ],
)
def test_a_part_that_was_taken_out_may_change_elsewhere(
    take: str, put: str, filled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draft_part, "FILLED_MAX", filled)
    draft, plain = draft_of(), copied(STATE)
    for root in (draft.root, plain):
        names: dict[str, Any] = {"root": root}
        try:
            exec(take, names)
            exec(put, names)
        except IndexError:
            pass
        names["part"]["later"] = {"x": 1}
        names["part"]["later"]["x"] = 2
    patch = draft.patch()
    assert text(apply_patch(STATE, patch)) == text(plain)
    changed = copied(STATE)
    changed["cart"]["owner"]["name"] = changed["l"][0]["s"] = "changed"
    with pytest.raises(ConflictError):
        compile_patch(changed, patch)


def test_a_value_that_became_invalid_is_refused_with_its_path() -> None:
    def no_value(row: Any) -> None:
        row["x"] = {1}

    def itself(row: Any) -> None:
        row["x"] = row

    def no_name(row: Any) -> None:
        row[1] = 1

    for spoil in (no_value, itself, no_name):
        draft, row = draft_of(), dict[Any, Any]()
        draft.root["l"].append(row)
        spoil(row)
        with pytest.raises(NotSerializableError, match=r"^l"):
            draft.patch()


def test_a_draft_within_itself_is_refused() -> None:
    draft = draft_of()
    draft.root["cart"]["self"] = draft.root["cart"]
    with pytest.raises(NotSerializableError, match="itself"):
        draft.patch()
    draft = draft_of()
    draft.root["l"].append([draft.root["l"]])
    with pytest.raises(NotSerializableError, match="itself"):
        draft.patch()


def test_names_may_be_members_of_an_enum() -> None:
    class Name(str, Enum):  # noqa: UP042  # whose str() is not its value
        N = "n"
        CART = "cart"

    draft = draft_of()
    draft.root[Name.N] = draft.root[Name.CART][Name.N]
    assert apply_patch(STATE, draft.patch()) == {**STATE, "n": 2}
    assert all(type(operation["path"]) is str for operation in draft.patch())


def test_true_is_the_index_one() -> None:
    draft = draft_of()
    draft.root["l"][True] = 6
    assert apply_patch(STATE, draft.patch())["l"][1] == 6


def test_errors_are_those_of_a_dict_or_list() -> None:
    wrong: list[Callable[[Any], object]] = [
        lambda root: root.pop(),
        lambda root: root["o"].popitem(),
        lambda root: root["e"].pop(),
        lambda root: root["l"].pop(9),
        lambda root: root["l"].index(77),
        lambda root: root["l"].remove(77),
        lambda root: root["l"].sort(),
        lambda root: root["l"]["x"],
        lambda root: root["l"] + (1,),
        lambda root: root["cart"] | [1],
        lambda root: root["cart"] < {},
        lambda root: root["l"].extend(5),
        lambda root: root[[]],
        lambda root: {root["cart"]},
        lambda root: root["l"] * "x",
        lambda root: setattr(root, "n", 1),
        lambda root: root.update(5),
        lambda root: root["q"].__setitem__(slice(None, None, 2), [1]),
    ]
    for attempt in wrong:
        errors = []
        for root in (draft_of().root, copied(STATE)):
            with pytest.raises(Exception) as caught:  # noqa: PT011
                attempt(root)
            errors.append(caught.type)
        assert errors[0] is errors[1]


def test_a_part_whose_type_has_changed_is_a_conflict() -> None:
    draft = Draft(make_live({"a": {}, "l": []}, None))
    draft.root["a"]["0"] = 1
    draft.root["l"].append(1)
    patch = draft.patch()
    others: list[Any] = [{"a": [], "l": []}, {"a": 0, "l": []}, {"a": {}, "l": {}}, {"a": {}}]
    for changed in others:
        with pytest.raises(ConflictError):
            compile_patch(changed, patch)
    assert compile_patch({"a": {"x": 1}, "l": [5]}, patch) == [
        {"op": "add", "path": "/a/0", "value": 1},
        {"op": "add", "path": "/l/1", "value": 1},
    ]
