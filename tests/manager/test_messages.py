"""Messages on the wire: what is sent is what arrives, and nothing else is taken for a message."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsync.errors import MemErrors, ProtocolError
from memsync.manager.transport.messages import (
    Fetch,
    Hello,
    Leave,
    Message,
    Ping,
    Pong,
    Refused,
    Resend,
    Source,
    Welcome,
    parse,
)
from memsync.replication.codec import (
    CHUNK_BYTES,
    HEADER,
    body_length,
    chunk_size,
    decode_snapshot,
    encode_snapshot,
    frame,
    snapshot_frames,
)
from memsync.replication.entries import Decision, Entry, Propose, Snapshot, SnapshotChunk

from ..replication.builders import chunk_of

MESSAGES: list[Message] = [
    Hello(1, "obj", "ab", 7, ["writer"], 2, 3, 4),
    Hello(1, "obj", "ab", 7, [], 0, 0, 1, True, 5, ["method"]),
    Hello(1, "obj", "ab", 7, [], 2, 3, 4, cluster_id="018b-c0"),
    Welcome("ab", 1, 2, True, 3),
    Refused(["ERR_AUTH", "text", {}]),
    Fetch(1, 2),
    Source(1, 2, False),
    SnapshotChunk(b"\0\xff", True),
    Propose(1, 1, 2, 3, 4, "patch", {"$inc": {"n": 1}}),
    Propose(2, 1, 2, 3, 4, "patch", [{"op": "remove", "path": "/a"}], {"n": 1}, [{"x": 1}]),
    Entry(1, 2, "ab", 3, 4, "patch", []),
    Entry(1, 2, "ab", 3, 4, "epoch", {"host": "ab"}, 5, [[1, 2, None]]),
    Decision(1, 2),
    Decision(1, 2, ["ERR_UPDATE", "text", {"path": "a"}]),
    Resend(5),
    Leave(),
    Ping(1),
    Pong(1),
]
encode = msgspec.msgpack.encode
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_framed_message_arrives_as_it_was_sent(message: Message) -> None:
    framed = frame(message)
    assert body_length(framed) == len(framed) - HEADER
    assert body_length(b"xxx" + framed, 3) == len(framed) - HEADER
    assert parse(framed[HEADER:]) == message
    assert parse(memoryview(framed)[HEADER:]) == message


def test_each_kind_has_its_own_number() -> None:
    numbers = {msgspec.msgpack.decode(frame(message)[HEADER:])[0] for message in MESSAGES}
    assert len(numbers) == len({type(message) for message in MESSAGES}) == 13


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"garbage",
        b"\x91" * 100_000,
        encode([]),
        encode([0]),
        encode([99, 1]),
        encode([12, "no number"]),
        encode([7, 1]),
        encode({"a": 1}),
        b"\x92\x0c\xa1\xff",
    ],
)
def test_what_is_no_message_is_a_protocol_error_that_shows_its_beginning(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="no memsync message") as caught:
        parse(body)
    assert caught.value.code is MemErrors.ERR_PROTOCOL
    assert repr(body[:40]) in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_protocol_error(body: bytes) -> None:
    try:
        message = parse(body)
    except ProtocolError:
        return
    assert parse(frame(message)[HEADER:]) == message


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_a_snapshot_survives_the_wire_with_the_order_of_its_keys(document: dict[str, Any]) -> None:
    refused: list[Any] = [6, ["ERR_UPDATE", "text", {}]]
    table = {"ab": (3, [(2, [5, None]), (3, refused)])}
    chunk = msgspec.Raw(encode(document))
    snapshot = Snapshot(1, 2, "id", {"timeout": 5}, table, {"patch": chunk})
    decoded = decode_snapshot(encode_snapshot(snapshot))
    assert bytes(decoded.parts["patch"]) == bytes(chunk)
    assert repr(msgspec.msgpack.decode(decoded.parts["patch"])) == repr(document)
    assert (decoded.sessions, decoded.options, decoded.cluster_id) == (table, {"timeout": 5}, "id")


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x92\x01", b"\xa1\xff", b"\x91" * 100_000, encode({}), encode([])]
)
def test_what_is_no_snapshot_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="no snapshot"):
        decode_snapshot(data)


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES]
)
def test_a_snapshot_travels_in_parts_of_bounded_size_the_last_of_which_says_so(size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    chunks = [chunk_of(each) for each in snapshot_frames(data)]
    assert all(len(chunk.data) <= CHUNK_BYTES for chunk in chunks)
    assert b"".join(chunk.data for chunk in chunks) == data
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


@pytest.mark.parametrize("max_frame", [1024, 65_536, 1 << 28])
def test_a_part_of_a_snapshot_fits_into_the_frame_limit(max_frame: int) -> None:
    chunk = chunk_size(max_frame)
    frames = snapshot_frames(b"x" * (2 * chunk + 1), chunk)
    assert len(frames) == 3
    assert max(map(len, frames)) - HEADER <= max_frame
