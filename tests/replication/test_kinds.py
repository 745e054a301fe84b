"""The registry of entry kinds, and a toy kind that a test adds to it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from memsync.document import Operation, encoded
from memsync.errors import ProtocolError, UpdateError, from_wire
from memsync.replication.clock import HybridClock
from memsync.replication.entries import Decision, Entry, Propose
from memsync.replication.kinds import KINDS
from memsync.replication.log import Log
from memsync.replication.sequencer import Sequencer
from memsync.replication.state import Kind, Order, State

from .builders import BIG, HOST, entry_of, hello, new_state, proposal, reign


class MemoKind(Kind):
    """Memos that peers leave; those of a peer go with it."""

    name = "memo"

    def begin(self, data: dict[str, Any], options: Mapping[str, Any]) -> list[list[str]]:
        return []

    def order(self, state: State, peer: str, proposal: Propose) -> Order | None:
        if not isinstance(proposal.body, str):
            raise UpdateError("a memo is a text")
        return Order([peer, proposal.body]) if proposal.body else None

    def apply(self, state: State, entry: Entry, *, fit: bool) -> None:
        state.parts[self.name].append(entry.body)

    def forget(self, state: State, peer: str) -> None:
        state.parts[self.name] = [memo for memo in state.parts[self.name] if memo[0] != peer]

    def encode(self, state: State) -> Any:
        return state.parts[self.name]

    def decode(self, data: msgspec.Raw, options: Mapping[str, Any]) -> list[list[str]]:
        return msgspec.msgpack.decode(data, type=list[list[str]])


WITH_MEMOS = {**KINDS, MemoKind.name: MemoKind()}


@pytest.fixture
def host() -> Sequencer:
    """A host with two writers, which knows memos."""
    state = State(contextlib.nullcontext(), WITH_MEMOS)
    state.bootstrap({"n": 0}, {})
    return reign(None, "w", "v", state=state)


def memo(number: int, text: object) -> Propose:
    """The proposal of a memo."""
    return proposal(number, text, kind="memo")


def test_every_kind_is_registered_under_its_name() -> None:
    assert {"patch", "member", "epoch"} <= KINDS.keys()
    assert all(kind.name == name for name, kind in KINDS.items())


@pytest.mark.parametrize("name", KINDS)
def test_a_part_of_the_state_survives_encoding_and_decoding(name: str) -> None:
    host = reign({"n": 0, "list": [1]}, "w")
    host.propose("w", proposal(1, event=["x", []]))
    kind, other = KINDS[name], new_state()
    data = encoded(kind.encode(host.state))
    if name in ("patch", "member", "epoch", "event"):  # to these the host has added something
        assert data != encoded(kind.encode(other))
    other.parts[name] = kind.decode(msgspec.Raw(data), host.state.options)
    assert encoded(kind.encode(other)) == data


@pytest.mark.parametrize("name", KINDS)
def test_a_part_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(msgspec.MsgspecError):
        KINDS[name].decode(msgspec.Raw(encoded(5)), {})


def test_by_default_a_kind_orders_nothing_and_has_no_part() -> None:
    kind, state = Kind(), new_state()
    kind.name = "plain"
    with pytest.raises(ProtocolError, match="a proposal of kind 'plain' cannot be ordered"):
        kind.order(state, "w", proposal(1))
    before = state.encode()
    entry = Entry(1, 1, HOST, 0, 0, "plain", None)
    kind.apply(state, entry, fit=True)
    kind.forget(state, "w")
    assert state.encode() == before
    operations: list[Operation] = kind.changes(entry)
    assert (operations, kind.compile({}, proposal(1), 0), kind.reads(proposal(1))) == ([], [], ())
    assert kind.encode(state) is kind.decode(msgspec.Raw(b"\xc0"), {}) is kind.begin({}, {}) is None


def test_a_toy_kind_is_ordered_and_applied_by_every_copy(host: Sequencer) -> None:
    copy = State(contextlib.nullcontext(), WITH_MEMOS)
    copy.restore(host.state.encode())
    entry = entry_of(host.propose("w", memo(1, "first")))
    assert (entry.kind, entry.body, entry.peer) == ("memo", ["w", "first"], "w")
    copy.apply(entry)
    assert copy.parts["memo"] == host.state.parts["memo"] == [["w", "first"]]
    assert copy.document == host.state.document == {"n": 0}
    assert copy.encode() == host.state.encode()


def test_a_toy_kind_refuses_and_decides_without_an_entry_as_patches_do(host: Sequencer) -> None:
    version = host.state.version
    refusal = host.propose("w", memo(1, 5))
    assert isinstance(refusal, Decision)
    assert refusal.error is not None
    assert isinstance(from_wire(refusal.error), UpdateError)
    assert host.propose("w", memo(2, "")) == Decision(2, version)
    assert host.propose("w", memo(1, 5)) == refusal  # exactly once holds for every kind
    assert host.state.version == version


def test_a_toy_kind_is_in_the_snapshot(host: Sequencer) -> None:
    host.propose("w", memo(1, "first"))
    copy = State(contextlib.nullcontext(), WITH_MEMOS)
    copy.restore(host.state.encode())
    assert copy.parts["memo"] == [["w", "first"]]
    stranger = State(contextlib.nullcontext(), KINDS)
    with pytest.raises(ProtocolError, match="use one version of memsync"):
        stranger.restore(host.state.encode())


def test_a_toy_kind_forgets_who_is_gone_for_certain(host: Sequencer) -> None:
    host.propose("w", memo(1, "of w"))
    host.propose("v", memo(1, "of v"))
    host.leave("w", keeps_session=True)
    assert host.state.parts["memo"] == [["w", "of w"], ["v", "of v"]]
    host.leave("v")
    assert host.state.parts["memo"] == [["w", "of w"]]


def test_a_toy_kind_outlives_a_change_of_host(host: Sequencer) -> None:
    host.propose("w", memo(1, "first"))
    log = Log(host.state.epoch, host.state.version, max_entries=10, max_bytes=BIG)
    new = Sequencer(host.state, log, HybridClock(), host="h1", epoch=2, max_frame=BIG)
    new.append_system("epoch", {"host": "h1", "pid": 1, "address": "/x"})
    new.append_system("member", {"join": hello("u").member()})
    new.attach("w", 1)
    assert new.last("w") == 1
    entry_of(new.propose("w", memo(2, "second")))
    assert [text for _, text in new.state.parts["memo"]] == ["first", "second"]
