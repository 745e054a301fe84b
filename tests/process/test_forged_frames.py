"""G13: what a peer with the key may send, however odd, takes down neither the host nor a peer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from memsync import MemSync
from memsync.errors import ProtocolError, from_wire
from memsync.manager.transport.messages import PROTOCOL, Fetch, Refused, Resend, Source, Welcome
from memsync.replication.codec import frame
from memsync.replication.entries import Decision, Entry, SnapshotChunk
from memsync.testing import NAME, Cluster, until

from ..process_helpers import driver_of, host_of
from .raw_client import RawClient, framed, hello, proposal

pytestmark = pytest.mark.process

DEEP: list[Any] = [1]
for _ in range(150):
    DEEP = [DEEP]


@pytest.fixture
def group(cluster: Cluster, folder: Path) -> Iterator[Cluster]:
    """A host and a client that still write when the test is over, with the same host."""
    host, client = cluster.start(2, {"n": 0, "text": "t"}, {"network": {"poll": 0.1}})
    yield cluster
    assert host.alive
    assert client.alive
    before = host.status()
    assert before["status"] == "host"
    host.run(lambda mem: mem.patch({"$inc": {"n": 1}}, timeout=5))
    client.run(lambda mem: mem.patch({"$inc": {"n": 1}}, timeout=5))
    assert cluster.settled()["n"] == 2
    # A forger has no peer file; with a free one it is dead for certain, and not just missing.
    for peer in host.run(lambda mem: list(driver_of(mem).participant.state.members)):
        (folder / f"{NAME}.d" / f"peer-{peer}.json").touch()
    # One look of the housekeeper, who judges the peers that are there and those that have gone.
    until(lambda: host.status()["peers"] == 1, 5, "the forger stayed a member")
    late = cluster.peer()
    assert late.snapshot() == host.snapshot()
    assert cluster.host() is host
    assert host.status()["epoch"] == before["epoch"]


def test_a_decent_peer_by_hand_is_served(group: Cluster) -> None:
    with RawClient() as peer:
        answer = peer.propose(proposal())
        assert isinstance(answer, Entry)
        assert answer.body == [{"op": "add", "path": "/forged", "value": 1}]
        assert isinstance(peer.propose(proposal(1)), Decision)
    assert group.host().snapshot("forged") == 1


def test_a_peer_of_another_protocol_is_told_both_numbers(group: Cluster) -> None:
    with RawClient(hello(protocol=PROTOCOL + 1)) as peer:
        (refusal,) = list(peer.messages())
        assert isinstance(refusal, Refused)
        error = from_wire(refusal.error)
        assert isinstance(error, ProtocolError)
        assert f"protocol {PROTOCOL + 1}" in str(error)
        assert f"protocol {PROTOCOL}:" in str(error)
        assert str(group.host().pid) in str(error)


def test_a_peer_that_wants_another_object_is_refused(group: Cluster) -> None:
    with RawClient(hello(name="other")) as peer:
        (refusal,) = list(peer.messages())
        assert NAME in str(from_wire(refusal.error))
        assert "other" in str(from_wire(refusal.error))


@pytest.mark.parametrize(
    "greeting",
    [
        b"",
        b"\0",
        framed(b""),
        framed(b"garbage"),
        framed(msgspec.msgpack.encode([1])),
        framed(msgspec.msgpack.encode([1, "x", 2, 3, 4, 5, 6, 7, 8])),
        framed(msgspec.msgpack.encode({"protocol": 1})),
        frame(Fetch(0, 0)),
    ],
    ids=range(8),
)
def test_a_greeting_that_is_none_ends_the_connection(group: Cluster, greeting: bytes) -> None:
    with RawClient(greeting) as peer:
        assert peer.is_cut_off()


@pytest.mark.parametrize(
    "changes",
    [
        {"peer": ""},
        {"peer": "../../authkey"},
        {"peer": "nul\0byte"},
        {"peer": "l" * 5000},
        {"peer": "\ud7ff\u2028"},
        {"epoch": 2**63 - 1, "version": 2**63 - 1},
        {"epoch": -5, "version": -5},
        {"epoch": 1, "version": 2**64 - 1},
        {"first_open": 2**64 - 1},
        {"first_open": -(2**63)},
        {"pid": -1},
        {"roles": ["writer"] * 1000},
        {"roles": ["king"]},
        {"methods": ["m" * 1000] * 10},
        {"max_writers": 2**63},
    ],
)
def test_an_odd_greeting_does_no_harm(group: Cluster, changes: dict[str, Any]) -> None:
    with RawClient(hello(**changes)) as peer:
        next(iter(peer.messages()), None)


def test_a_peer_that_calls_itself_the_host_does_no_harm(group: Cluster) -> None:
    host = group.host()
    with RawClient(hello(host.run(lambda mem: mem.id))) as peer:
        first = next(iter(peer.messages()), None)
        if isinstance(first, Welcome):
            peer.propose(proposal(first.last + 1))
            peer.send_value([11])  # Leave


def test_a_peer_that_calls_itself_another_client_does_no_lasting_harm(group: Cluster) -> None:
    client = group.clients()[0]
    with RawClient(hello(client.run(lambda mem: mem.id))) as peer:
        assert isinstance(next(iter(peer.messages())), Welcome)


def test_a_gap_in_the_numbers_is_asked_to_be_filled(group: Cluster) -> None:
    with RawClient() as peer:
        for far in (2, 5, 2**63 - 1, 2**64 - 1):
            answer = peer.propose(proposal(far, timestamp=1))
            assert answer == Resend(1)
        assert isinstance(peer.propose(proposal(1)), Entry)
        assert isinstance(peer.propose(proposal(2)), Entry)
    assert group.host().snapshot("forged") == 2


@pytest.mark.parametrize("number", [0, -1, -(2**63)])
def test_a_number_before_the_first_is_answered_and_applies_nothing(
    group: Cluster, number: int
) -> None:
    with RawClient() as peer:
        assert isinstance(peer.propose(proposal(number)), Decision)
    assert group.host().snapshot("forged") is None


ODD_PROPOSALS = [
    {"body": None},
    {"body": 5},
    {"body": "text"},
    {"body": []},
    {"body": {}},
    {"body": [1, 2]},
    {"body": [{}]},
    {"body": [{"op": "add"}]},
    {"body": [{"op": "add", "path": "no slash", "value": 1}]},
    {"body": [{"op": "add", "path": 5, "value": 1}]},
    {"body": [{"op": "add", "path": "", "value": 1}]},
    {"body": [{"op": "replace", "path": "", "value": []}]},
    {"body": [{"op": "remove", "path": ""}]},
    {"body": [{"op": "add", "path": "/a", "value": 2**64 - 1}]},
    {"body": [{"op": "add", "path": "/a", "value": b"bytes"}]},
    {"body": [{"op": "add", "path": "/a", "value": float("nan")}]},
    {"body": [{"op": "add", "path": "/a", "value": {1: 2}}]},
    {"body": [{"op": "add", "path": "/a", "value": DEEP}]},
    {"body": [{"op": "add", "path": "/" + "f" * 2000, "value": 1}]},
    {"body": {"$set": {"a": DEEP}}},
    {"body": {"$set": {"a": 2**64 - 1}}},
    {"body": {"$set": {"a": b"bytes"}}},
    {"body": {"$set": {"a": float("inf")}}},
    {"body": {"$set": {"a": {1: 2}}}},
    {"body": {1: {"a": 2}}},
    {"body": {"$set": {1: 2}}},
    {"body": {"$inc": None}},
    {"body": {"$push": {"text": 1}}},
    {"body": {"$set": {"a.$[x]": 1}}, "array_filters": [5]},
    {"where": {"$nonsense": 1}},
    {"where": {"n": {"$regex": "("}}},
    {"where": {"n": b"bytes"}},
    {"array_filters": [{"": 1}]},
    {"kind": "event"},
    {"kind": "member", "body": {"leave": "x"}},
    {"kind": "epoch", "body": {"host": "abcdef0123456789"}},
]


@pytest.mark.parametrize("changes", ODD_PROPOSALS, ids=lambda c: repr(c)[:60])
def test_an_odd_proposal_is_refused_with_an_error_and_changes_nothing(
    group: Cluster, changes: dict[str, Any]
) -> None:
    before = group.settled()
    with RawClient() as peer:
        decision = peer.propose(proposal(**changes))
        assert isinstance(decision, Decision), decision
        without_effect = changes.get("body") == []  # a patch of no operations is no error
        assert (decision.error is None) == without_effect
        if decision.error:
            assert "a bug in memsync" not in str(from_wire(decision.error))
        assert isinstance(peer.propose(proposal(2)), Entry)
    assert group.settled() == before | {"forged": 1}


@pytest.mark.parametrize("timestamp", [2**64 - 1, 2**63 - 1, 2**62, 0, -1, -(2**63)])
def test_an_odd_clock_harms_nobody(group: Cluster, timestamp: int) -> None:
    with RawClient() as peer:
        assert isinstance(peer.propose(proposal(timestamp=timestamp)), Entry)
    group.peers[1].patch({"$inc": {"seen": 1}})
    group.peers[0].patch({"$currentDate": {"now": True}})
    assert group.settled()["seen"] == 1
    year = int(group.peers[0].snapshot("now")[:4])
    assert 2023 <= year < 2100


@pytest.mark.parametrize("acked_below", [2**64 - 1, -(2**63)])
def test_an_odd_claim_of_what_was_read_harms_nobody(group: Cluster, acked_below: int) -> None:
    with RawClient() as peer:
        for number in (1, 2, 3):
            assert isinstance(peer.propose(proposal(number, acked_below=acked_below)), Entry)
    assert group.settled()["forged"] == 3


BAD_FRAMES = {
    "an empty body": framed(b""),
    "no MessagePack": framed(b"\xc1"),
    "text": framed(b"garbage" * 100),
    "an unknown kind": framed(msgspec.msgpack.encode([99, 1])),
    "a proposal of nothing": framed(msgspec.msgpack.encode([7])),
    "a proposal with a wrong type": framed(
        msgspec.msgpack.encode([7, "one", 1, 1, 1, 1, "patch", {}])
    ),
    "a map": framed(msgspec.msgpack.encode({"a": 1})),
    "deep nesting": framed(b"\x91" * 100_000),
    "a length over the limit": b"\xff\xff\xff\xff" + b"x" * 100,
    "a host's Welcome": frame(Welcome("a", 99, 99, False, 0)),
    "a survivor's Source": frame(Source(99, 99, False)),
    "an entry": frame(Entry(99, 99, "a", 1, 1, "patch", [])),
    "a candidate's Fetch": frame(Fetch(0, 0)),
    "a second Hello": frame(hello(pid=1)),
}


@pytest.mark.parametrize("kind", BAD_FRAMES)
def test_a_message_that_is_none_or_not_a_clients_ends_the_connection(
    group: Cluster, kind: str
) -> None:
    with RawClient() as peer:
        assert isinstance(peer.propose(proposal()), Entry)
        peer.send(BAD_FRAMES[kind])
        assert peer.is_cut_off()


def test_frames_in_pieces_and_many_in_one_piece_are_the_same(group: Cluster) -> None:
    with RawClient() as peer:
        numbers = count(1)
        whole = b"".join(frame(proposal(next(numbers))) for _ in range(50))
        for position in range(0, len(whole), 7):
            peer.send(whole[position : position + 7])
        peer.send(b"".join(frame(proposal(next(numbers))) for _ in range(50)))
        until(lambda: group.peers[1].snapshot("forged") == 100, 5)


def test_g14_a_peer_that_falls_behind_again_and_again_gets_each_level_whole(
    cluster: Cluster,
) -> None:
    """Frozen in the middle of the snapshot that brings it level, it must not get half of it."""
    options = {"network": {"maxQueue": 1 << 16}}
    blob = {f"k{i}": "v" * 500 for i in range(6000)}
    host, client = cluster.start(2, {"n": 0, "blob": blob}, options)
    reasons = client.begin(lambda mem: mem.__dict__.setdefault("reasons", []))
    client.result(reasons)
    client.run(lambda mem: mem.on("disconnected", mem.reasons.append) and None)

    def flood(mem: MemSync[Any]) -> None:
        for i in range(100):
            mem.patch({"$set": {"pad": "x" * 50_000 + str(i)}, "$inc": {"n": 1}}, timeout=20)

    for _ in range(4):
        client.pause()
        ticket = host.begin(flood)
        until(lambda: host.run(lambda mem: any(a.is_slow for a in host_of(mem).clients.values())))
        client.resume()
        host.result(ticket, 60)
    assert cluster.settled()["n"] == 400
    assert client.run(lambda mem: mem.reasons) == []


def test_g14_a_frozen_reader_does_not_stop_the_writes_of_the_host(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0})
    reader = cluster.peer(options={"peer": {"roles": []}})
    reader.pause()

    def write(mem: MemSync[Any]) -> None:
        for i in range(400):
            mem.patch({"$inc": {"n": 1}, "$set": {"pad": "x" * 10_000 + str(i)}}, timeout=15)

    host.run(write)
    reader.resume()
    assert cluster.settled()["n"] == 400


def test_g14_a_peer_that_reads_nothing_blocks_nobody_and_catches_up_later(
    cluster: Cluster,
) -> None:
    """What it does not read piles up until the limit; from then on the host keeps nothing for it.

    When it reads again it gets the rest of what was queued, and then the object as it is.
    """
    options = {"network": {"maxQueue": 1 << 20}}
    host, client = cluster.start(2, {"n": 0}, options)
    text = "x" * 200_000
    with RawClient(hello(roles=[])) as stuck:

        def write(mem: MemSync[Any]) -> None:
            for i in range(200):
                mem.patch({"$set": {"big": text + str(i)}}, timeout=5)

        client.run(write)
        assert host.status()["host"]["connections"] == 2
        welcomes, chunks, entries = [], [], 0
        for message in stuck.messages(10):
            if isinstance(message, Welcome):
                welcomes.append(message)
            elif isinstance(message, SnapshotChunk):
                chunks.append(message)
                if message.last and len(welcomes) == 2:
                    break
            else:
                entries += isinstance(message, Entry)
        assert len(welcomes) == 2
        assert welcomes[1].version == host.version
        assert text.encode() + b"199" in chunks[-1].data
        assert entries < 50
        client.patch({"$set": {"n": 1}})
        assert any(isinstance(message, Entry) for message in stuck.messages(20))
