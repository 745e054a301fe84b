"""Code in C reads a part of a draft below its first level, and others change it meanwhile.

Such code reads the containers of the view, whose old values nobody keeps. So the moment of the
change matters: before the part was handed out, while the block runs, or after its end.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from memsync import ConflictError, MemSync

Pair = tuple[MemSync[Any], MemSync[Any]]
BASE: dict[str, Any] = {
    "a": {"l": [5, {"n": [1]}], "o": {"p": {"q": 1}}},
    "rows": [{"l": [5, {"n": [1]}], "o": {"p": {"q": 1}}}, 0],
    "other": {"l": [5]},
    "out": None,
}


@pytest.fixture(params=["host", "client"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """The handle that edits, and another one."""
    options = {"engine": "memory"}
    with MemSync[Any]("in-c", BASE, options) as host, MemSync[Any]("in-c", None, options) as one:
        yield (host, one) if request.param == "host" else (one, host)


READERS: dict[str, Callable[[Any], Any]] = {
    "msgspec.json": lambda part: msgspec.json.encode(part).decode(),
    "msgspec.msgpack": lambda part: msgspec.msgpack.encode(part).hex(),
    "msgspec.to_builtins": lambda part: repr(msgspec.to_builtins(part)),
    "dict.get": lambda part: repr([dict.get(part, "l"), dict.get(part, "o")]),
    "dict.items": lambda part: repr(list(dict.items(part))),
    "dict.values": lambda part: repr(list(dict.values(part))),
}
PARTS: dict[str, Callable[[Any], Any]] = {
    "a": lambda draft: draft["a"],
    "rows.0": lambda draft: draft["rows"][0],
}
CHANGES: dict[str, Callable[[str], Any]] = {
    "an element": lambda part: {"$set": {f"{part}.l.0": 8}},
    "a push": lambda part: {"$push": {f"{part}.l": 8}},
    "deep": lambda part: {"$set": {f"{part}.l.1.n.0": 8}},
    "a field": lambda part: {"$inc": {f"{part}.o.p.q": 1}},
    "a removal": lambda part: {"$unset": {f"{part}.o.p": ""}},
    "a container": lambda part: {"$set": {f"{part}.l": [8]}},
    "the part": lambda part: {"$set": {part: {"l": [8, {"n": []}], "o": {}}}},
    "what contains it": lambda part: {
        "$set": {part.partition(".")[0]: [{"l": [8]}, 0] if "." in part else {"l": [8]}}
    },
}


def patch_and_see(mem: MemSync[Any], other: MemSync[Any], update: Any) -> None:
    version = other.patch(update)
    mem.wait_for(lambda _: mem.version >= version, timeout=10)


@pytest.mark.parametrize("place", PARTS)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("reader", READERS)
def test_what_c_code_has_read_is_guarded_at_every_level(
    pair: Pair, reader: str, change: str, place: str
) -> None:
    mem, other = pair
    with pytest.raises(ConflictError) as caught, mem.edit() as draft:  # noqa: PT012
        draft["out"] = READERS[reader](PARTS[place](draft))
        patch_and_see(mem, other, CHANGES[change](place))
    assert caught.value.outcome == "not_applied"
    assert mem.snapshot("out") is None


@pytest.mark.parametrize("change", CHANGES)
def test_a_thread_of_the_same_peer_counts_as_well(pair: Pair, change: str) -> None:
    mem, _ = pair
    with pytest.raises(ConflictError), mem.edit() as draft:  # noqa: PT012
        draft["out"] = READERS["msgspec.json"](draft["a"])
        mem.patch(CHANGES[change]("a"))


def read_twice(draft: Any) -> Any:
    result = READERS["msgspec.json"](draft["a"])
    draft["a"].get("l")
    return result


USES: dict[str, Callable[[Any], Any]] = {
    "a method was called after it was handed out again": read_twice,
    "a part of a part": lambda draft: READERS["msgspec.json"](draft["a"]["o"]["p"]),
    "an array": lambda draft: msgspec.json.encode(draft["rows"]).decode(),
    "an array in a part": lambda draft: msgspec.json.encode(draft["a"]["l"]).decode(),
}
AFTER: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda draft: None,
    "the object is copied": lambda draft: draft.copy(),
    "the parts are counted": lambda draft: (len(draft["a"]), len(draft["rows"])),
    "the part is put elsewhere": lambda draft: draft.update(kept=draft["a"]),
    "what contains it is copied": lambda draft: copy.deepcopy([draft["a"], draft["rows"]]),
    "the part is replaced": lambda draft: draft.update(a={}),
    "C code writes": lambda draft: dict.__setitem__(draft["a"], "new", 1),
}


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("use", USES)
def test_what_is_done_with_the_draft_afterwards_hides_nothing(
    pair: Pair, use: str, after: str
) -> None:
    mem, other = pair
    changes = {"a.l.1.n.0": 8, "a.o.p.q": 8, "rows.0.l.0": 8}
    with pytest.raises(ConflictError), mem.edit() as draft:  # noqa: PT012
        draft["out"] = USES[use](draft)
        patch_and_see(mem, other, {"$set": changes})
        AFTER[after](draft)
    assert mem.snapshot("out") is None


@pytest.mark.parametrize("place", PARTS)
@pytest.mark.parametrize("reader", READERS)
def test_a_change_before_the_part_is_handed_out_is_read(
    pair: Pair, reader: str, place: str
) -> None:
    mem, other = pair
    with mem.edit() as draft:
        draft["out"] = ""
        PARTS[place](draft).get("missing")
        patch_and_see(mem, other, CHANGES["an element"](place))
        draft["out"] = READERS[reader](PARTS[place](draft))
    expected = mem.snapshot(place)
    assert expected["l"][0] == 8
    assert mem.snapshot("out") == READERS[reader](expected)


@pytest.mark.parametrize(
    "update",
    [
        {"$set": {"other.l.0": 8}},
        {"$set": {"a2": 1}},
        {"$push": {"rows": 1}},
        {"$set": {"other": 1}},
    ],
    ids=str,
)
@pytest.mark.parametrize("place", PARTS)
def test_a_change_elsewhere_refuses_nothing(pair: Pair, place: str, update: Any) -> None:
    mem, other = pair
    with mem.edit() as draft:
        draft["out"] = READERS["msgspec.json"](PARTS[place](draft))
        patch_and_see(mem, other, update)
    assert mem.snapshot("out") == READERS["msgspec.json"](mem.snapshot(place))


@pytest.mark.parametrize("place", PARTS)
def test_a_change_after_the_block_is_found_by_the_test(pair: Pair, place: str) -> None:
    """The host orders the change first, and the editing peer has not seen it at the end."""
    mem, other = pair
    edit = mem.edit()
    draft = edit.__enter__()
    draft["out"] = READERS["msgspec.json"](PARTS[place](draft))
    future = other.submit(CHANGES["deep"](place))
    with pytest.raises(ConflictError):
        edit.__exit__(None, None, None)
    assert future.result(timeout=10) > 1
    assert mem.snapshot("out") is None


@pytest.mark.parametrize("reader", READERS)
def test_transact_repeats_it(pair: Pair, reader: str) -> None:
    mem, other = pair
    tries = []

    def read(draft: Any) -> None:
        tries.append(draft)
        draft["out"] = READERS[reader](draft["a"])
        if len(tries) == 1:
            patch_and_see(mem, other, CHANGES["deep"]("a"))

    mem.transact(read, timeout=10)
    assert len(tries) == 2
    assert mem.snapshot("out") == READERS[reader](mem.snapshot("a"))


def test_a_copy_has_the_values_of_its_moment(pair: Pair) -> None:
    """What C code reads in a copy is tested even if methods of the part were called before."""
    mem, other = pair
    with pytest.raises(ConflictError), mem.edit() as draft:  # noqa: PT012
        part = draft["a"]
        part.get("l")
        draft["out"] = READERS["msgspec.json"](part.copy())
        patch_and_see(mem, other, CHANGES["deep"]("a"))
    with mem.edit() as draft:
        draft["out"] = READERS["msgspec.json"](draft["a"].copy())
    assert mem.snapshot("out") == READERS["msgspec.json"](mem.snapshot("a"))


def test_many_changes_elsewhere_are_too_many_to_remember(pair: Pair) -> None:
    """A part that was handed out before them is refused; one that is handed out now is not."""
    mem, other = pair
    for _ in range(2):
        with pytest.raises(ConflictError), mem.edit() as draft:  # noqa: PT012
            draft["out"] = READERS["msgspec.json"](draft["a"])
            patch_and_see(mem, other, {"$set": {"many": {}}})
            patch_and_see(mem, other, {"$set": {f"many.{name}": 1 for name in range(1001)}})
    with mem.edit() as draft:
        draft["other"]["seen"] = True
        patch_and_see(mem, other, {"$inc": {f"many.{name}": 1 for name in range(1001)}})
        draft["out"] = READERS["msgspec.json"](draft["a"])
    assert mem.snapshot("out") == READERS["msgspec.json"](mem.snapshot("a"))
