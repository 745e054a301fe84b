"""The replicated state: changed by entries only, equal everywhere at equal versions."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from memsync.errors import ProtocolError
from memsync.replication.conflicts import ConflictIndex
from memsync.replication.entries import Entry
from memsync.replication.state import State

from .builders import hello, new_replica, new_state, take


def patch(version: int, *operations: dict[str, Any], **changes: Any) -> Entry:
    """An entry that carries a patch; made by the host unless told otherwise."""
    fields: dict[str, Any] = {"epoch": 1, "peer": "w", "number": 0, "timestamp": 1, "kind": "patch"}
    return Entry(version=version, body=list(operations), **(fields | changes))


def put(path: str, value: object) -> dict[str, Any]:
    """An operation that adds or sets."""
    return {"op": "add", "path": path, "value": value}


def facts(state: State) -> tuple[object, ...]:
    """All that a snapshot carries."""
    table = {peer: (row.last, row.outcomes) for peer, row in state.sessions.items()}
    pair = (state.epoch, state.version)
    return (dict(state.document), pair, state.host, state.members, table, state.options)


def test_a_founded_object_is_at_version_zero_and_detached_from_what_was_given() -> None:
    data = {"list": [1]}
    state = new_state(data)
    data["list"].append(2)
    assert state.document == {"list": [1]}
    assert (state.epoch, state.version) == (0, 0)


def test_entries_are_applied_one_version_at_a_time() -> None:
    state = new_state({"n": 1})
    state.apply(patch(1, put("/n", 2)))
    state.apply(patch(2, put("/n", 3), epoch=4))
    assert state.document == {"n": 3}
    assert (state.epoch, state.version) == (4, 2)


@pytest.mark.parametrize(("epoch", "version"), [(2, 1), (2, 3), (1, 2), (2, 0), (3, 5)])
def test_an_entry_that_does_not_follow_or_is_of_the_past_is_refused(
    epoch: int, version: int
) -> None:
    state = new_state({"n": 1})
    state.apply(patch(1, epoch=2))
    before = facts(state)
    with pytest.raises(ProtocolError, match=r"does not follow \(2, 1\)"):
        state.apply(patch(version, put("/n", 9), epoch=epoch))
    assert facts(state) == before
    assert not state.torn


def test_members_come_and_go_by_entries_and_take_their_row_along() -> None:
    state = new_state()
    joining = hello("w").member()
    state.apply(Entry(1, 1, "h", 0, 1, "member", {"join": joining}))
    state.apply(patch(2, number=1))
    assert state.members == {"w": joining}
    assert state.sessions["w"].last == 1
    state.apply(Entry(1, 3, "h", 0, 1, "member", {"leave": "w"}))
    assert (state.members, state.sessions) == ({}, {})
    state.apply(Entry(1, 4, "h", 0, 1, "member", {"leave": "nobody"}))


def test_a_reign_names_the_host() -> None:
    state = new_state()
    state.apply(Entry(3, 1, "h", 0, 1, "epoch", {"host": "h", "pid": 1, "address": "/x"}))
    assert (state.host, state.epoch) == ("h", 3)


def test_an_entry_of_an_unknown_kind_is_refused_and_changes_nothing() -> None:
    state = new_state({"n": 1})
    with pytest.raises(ProtocolError, match="'unheard'"):
        state.apply(Entry(1, 1, "h", 0, 1, "unheard", ["name", 1]))
    assert (state.document, state.version, state.torn) == ({"n": 1}, 0, False)


def test_the_table_keeps_the_outcomes_which_the_writer_may_not_have_read() -> None:
    state = new_state()
    state.apply(patch(1, number=1))
    state.apply(patch(2, number=4, acked_below=1, decided=[[2, 1, None], [3, 1, ["ERR_UPDATE"]]]))
    row = state.sessions["w"]
    assert row.last == 4
    assert row.outcomes == {
        1: [1, None, True],
        2: [1, None, False],
        3: [1, ["ERR_UPDATE"], False],
        4: [2, None, True],
    }
    state.apply(patch(3, number=5, acked_below=4))
    assert row.outcomes == {4: [2, None, True], 5: [3, None, True]}


def test_a_change_that_is_interrupted_leaves_the_copy_torn() -> None:
    replica = new_replica()
    take(replica, patch(1, put("/a", 1)))

    class Interrupted(BaseException):
        pass

    class Bomb(dict[str, Any]):
        def __getitem__(self, key: object) -> object:
            raise Interrupted

    entry = patch(2)
    entry.body = [Bomb(put("/b", 1))]
    with pytest.raises(Interrupted):
        take(replica, entry)
    assert replica.state.torn
    assert replica.pair == (0, 0)
    assert replica.state.version == 1


def rich_state() -> State:
    """A state with something in each part."""
    state = new_state({"z": 1, "a": {"y": [1, {"x": None}], "b": 2}})
    state.options = {"timeout": 5}
    state.apply(Entry(1, 1, "h", 0, 1, "epoch", {"host": "h", "pid": 1, "address": "/x"}))
    state.apply(Entry(1, 2, "h", 0, 1, "member", {"join": hello("w").member()}))
    state.apply(patch(3, put("/c", 3), number=2, decided=[[1, 2, ["ERR_UPDATE", "x", {}]]]))
    return state


def test_a_snapshot_carries_everything_down_to_the_order_of_keys() -> None:
    state, copy = rich_state(), new_state({"other": True})
    copy.restore(state.encode())
    assert facts(copy) == facts(state)
    assert repr(copy.document) == repr(state.document)
    assert list(copy.document) == ["z", "a", "c"]
    entry = patch(4, put("/a/b", 9), number=3)
    state.apply(entry)
    copy.apply(entry)
    assert facts(copy) == facts(state)


def test_a_snapshot_of_the_past_is_refused() -> None:
    old = rich_state().encode()
    for later in ({"epoch": 2}, {"epoch": 1}):
        state = rich_state()
        state.apply(patch(4, put("/c", 4), **later))
        before = facts(state)
        with pytest.raises(ProtocolError, match="older than this copy"):
            state.restore(old)
        assert facts(state) == before


def test_a_torn_copy_takes_a_snapshot_whatever_its_pair_says() -> None:
    old, state = rich_state(), rich_state()
    state.apply(patch(4, put("/c", 4), epoch=2))
    state.torn = True
    state.restore(old.encode())
    assert facts(state) == facts(old)
    assert not state.torn


PARTS: dict[str, Any] = {
    "patch": {"document": {}, "index": ConflictIndex(4).encode()},
    "member": {},
    "epoch": {"host": "h", "epochs": [[1, 1]]},
    "event": {"count": 1, "starts": [[1, 0]]},
    "presence": {},
    "method": {"peers": {}, "published": {}},
    "lock": {"locks": {}, "results": {}},
}
WHOLE: dict[str, Any] = {
    "epoch": 9,
    "version": 9,
    "cluster_id": "",
    "sessions": {},
    "options": {},
    "parts": PARTS,
}


def test_the_snapshot_that_the_next_tests_damage_is_one() -> None:
    state = rich_state()
    state.restore(msgspec.msgpack.encode(WHOLE))
    assert (state.pair, state.host) == ((9, 9), "h")


OF_THE_WHOLE: list[dict[str, Any]] = [
    {"sessions": 5},
    {"sessions": {"w": 5}},
    {"sessions": {"w": [1, [[1]]]}},
    {"epoch": "x"},
    {"version": None},
]
OF_THE_PARTS: list[dict[str, Any]] = [
    {"patch": PARTS["patch"] | {"document": [1]}},
    {"patch": PARTS["patch"] | {"document": None}},
    {"patch": None},
    {"member": []},
    {"epoch": {"host": 5}},
    {"event": {"count": "many"}},
    {"presence": {"w": 5}},
    {"method": {"peers": {"w": 5}, "published": {}}},
    {"unknown": {}},
]
DAMAGED: list[Any] = [
    *(None, 5, [], {}, "text"),
    *({k: v for k, v in WHOLE.items() if k != missing} for missing in WHOLE),
    *(WHOLE | wrong for wrong in OF_THE_WHOLE),
    *(WHOLE | {"parts": PARTS | wrong} for wrong in OF_THE_PARTS),
    *(WHOLE | {"parts": {k: v for k, v in PARTS.items() if k != missing}} for missing in PARTS),
]


@pytest.mark.parametrize("snapshot", DAMAGED, ids=repr)
def test_a_snapshot_of_a_wrong_shape_is_refused_and_changes_nothing(snapshot: object) -> None:
    state = rich_state()
    before = facts(state)
    with pytest.raises(ProtocolError, match="snapshot"):
        state.restore(msgspec.msgpack.encode(snapshot))
    assert facts(state) == before
    assert not state.torn


def test_g2_who_may_come_back_leaves_its_row_behind() -> None:
    state = new_state()
    state.apply(Entry(1, 1, "h", 0, 1, "member", {"join": hello("w").member()}))
    state.apply(patch(2, number=1))
    state.apply(Entry(1, 3, "h", 0, 1, "member", {"leave": "w", "keepsSession": True}))
    assert state.members == {}
    assert state.sessions["w"].last == 1


@pytest.mark.parametrize(
    ("pair", "common"),
    [((1, 2), 2), ((1, 9), 3), ((2, 4), 4), ((2, 9), 5), ((3, 6), 6), ((4, 6), 6), ((0, 0), 0)],
)
def test_what_a_peer_has_beyond_the_end_of_its_epoch_is_not_common(
    pair: tuple[int, int], common: int
) -> None:
    state = new_state()
    for version, epoch in enumerate((1, 1, 1, 2, 2, 3), 1):
        begins = (epoch, version) in ((1, 1), (2, 4), (3, 6))
        body = {"host": f"h{epoch}", "pid": 1, "address": "/x"} if begins else [put("/n", version)]
        kind = "epoch" if begins else "patch"
        state.apply(Entry(epoch, version, f"h{epoch}", 0, 1, kind, body))
    assert state.epochs == [(1, 1), (2, 4), (3, 6)]
    assert state.common(*pair) == common
