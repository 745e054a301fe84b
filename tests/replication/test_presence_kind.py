"""Presence in the log: fields are merged at the host, and go with their peer."""

from __future__ import annotations

from typing import Any

import pytest

from memsync.errors import NotSerializableError, TooLargeError, UsageError, from_wire
from memsync.replication.entries import Decision, Propose
from memsync.replication.kinds.presence import PRESENCE_BYTES, present
from memsync.replication.sequencer import Sequencer

from .builders import entry_of, hello, new_state, proposal, reign


def presence(number: int, **fields: Any) -> Propose:
    """The proposal of a change of presence."""
    return proposal(number, fields, kind="presence")


def test_fields_are_merged_and_none_removes_one() -> None:
    host = reign({"n": 1}, "w")
    entry_of(host.propose("w", presence(1, status="busy", job=7)))
    entry = entry_of(host.propose("w", presence(2, job=None, at=[1, {"x": None}])))
    assert entry.body == {"status": "busy", "at": [1, {"x": None}]}
    assert present(host.state) == {"w": entry.body}
    copy = new_state()
    copy.restore(host.state.encode())
    assert present(copy) == present(host.state)
    assert host.state.document == {"n": 1}


def test_what_changes_nothing_makes_no_entry() -> None:
    host = reign({}, "w")
    assert isinstance(host.propose("w", presence(1, status=None)), Decision)
    entry_of(host.propose("w", presence(2, n=1)))
    assert isinstance(host.propose("w", presence(3, n=1)), Decision)
    assert entry_of(host.propose("w", presence(4, n=True))).body == {"n": True}  # not the same
    assert isinstance(host.propose("w", presence(5)), Decision)


def test_the_last_field_takes_the_peer_out() -> None:
    host = reign({}, "w")
    entry_of(host.propose("w", presence(1, n=1)))
    entry_of(host.propose("w", presence(2, n=None)))
    assert present(host.state) == {}


def test_the_fields_go_with_their_peer() -> None:
    host = reign({}, "w", "v")
    for peer in ("w", "v"):
        entry_of(host.propose(peer, presence(1, name=peer)))
    host.leave("w")
    assert present(host.state) == {"v": {"name": "v"}}
    host.append_system("member", {"join": hello("w").member()})
    assert present(host.state) == {"v": {"name": "v"}}


def test_a_peer_that_may_live_is_hidden_and_keeps_its_fields() -> None:
    host = reign({}, "w")
    entry_of(host.propose("w", presence(1, n=1)))
    host.leave("w", keeps_session=True)
    assert present(host.state) == {}
    host.append_system("member", {"join": hello("w").member()})
    assert present(host.state) == {"w": {"n": 1}}


def test_a_reader_has_a_presence_too_and_a_stranger_has_none() -> None:
    host = reign({})
    host.append_system("member", {"join": hello("reader", ()).member()})
    for peer in ("reader", "stranger"):
        host.attach(peer, 1)
    entry_of(host.propose("reader", presence(1, n=1)))
    assert isinstance(host.propose("stranger", presence(1, n=1)), Decision)
    assert present(host.state) == {"reader": {"n": 1}}


BAD: list[tuple[Any, type[Exception]]] = [
    (None, UsageError),
    ([1], UsageError),
    ("text", UsageError),
    ({"n": b"bytes"}, NotSerializableError),
    ({"n": 1 << 63}, NotSerializableError),
    ({"n": "x" * PRESENCE_BYTES}, TooLargeError),
]


@pytest.mark.parametrize(("wrong", "error"), BAD)
def test_g13_the_host_refuses_a_forged_presence(wrong: Any, error: type[Exception]) -> None:
    host: Sequencer = reign({}, "w")
    refused = host.propose("w", Propose(1, 1, 1 << 16, 1, 1, "presence", wrong))
    assert isinstance(refused, Decision)
    assert refused.error is not None
    assert isinstance(from_wire(refused.error), error)
    assert present(host.state) == {}
