"""The log's types as bytes: frames, and snapshots in chunks.

A frame is a length (four bytes, big-endian) and a MessagePack array whose first element is the
number of the type. An engine may send frames of its own between these.
"""

from __future__ import annotations

import struct
from typing import TypeVar

import msgspec

from ..document import encoded
from ..errors import ProtocolError
from .entries import Decision, Entry, Propose, Snapshot, SnapshotChunk

T = TypeVar("T")

_decoder = msgspec.msgpack.Decoder(Propose | Entry | Decision | SnapshotChunk)
_entry_decoder = msgspec.msgpack.Decoder(Entry)
_proposal_decoder = msgspec.msgpack.Decoder(Propose)
_snapshot_decoder = msgspec.msgpack.Decoder(Snapshot)
_length = struct.Struct(">I")

HEADER = _length.size
CHUNK_BYTES = 1 << 20  # bytes of an encoded snapshot in one `SnapshotChunk`
_CHUNK_OVERHEAD = 64  # bytes; at least what the frame adds to the chunk
_UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def frame(message: msgspec.Struct) -> bytes:
    """A message as a frame."""
    body = encoded(message)
    return _length.pack(len(body)) + body


def frame_of(body: bytes) -> bytes:
    """An encoded message as a frame."""
    return _length.pack(len(body)) + body


def body_length(header: bytes | bytearray | memoryview, offset: int = 0) -> int:
    """The length in a frame's first four bytes."""
    length: int = _length.unpack_from(header, offset)[0]
    return length


def decode(body: bytes | memoryview) -> Propose | Entry | Decision | SnapshotChunk:
    """Decode a frame's body; raises `ProtocolError` for any other data."""
    message: Propose | Entry | Decision | SnapshotChunk = decode_with(_decoder, body)
    return message


def decode_with(decoder: msgspec.msgpack.Decoder[T], body: bytes | memoryview) -> T:
    """Decode a frame's body with `decoder`; raises `ProtocolError` for any other data."""
    try:
        return decoder.decode(body)
    except _UNDECODABLE as error:
        start = bytes(body[:40])
        raise ProtocolError(
            f"the received data is no memsync message ({error}): {start!r}..."
        ) from error


def decode_entry(body: bytes | memoryview) -> Entry:
    """Decode the body of a frame that was decoded before."""
    return _entry_decoder.decode(body)


def decode_proposal(encoded: bytes) -> Propose:
    """Decode the frame of an own proposal."""
    return _proposal_decoder.decode(memoryview(encoded)[HEADER:])


def encode_snapshot(snapshot: Snapshot) -> bytearray:
    """A snapshot as MessagePack."""
    return encoded(snapshot)


def decode_snapshot(data: bytes | bytearray) -> Snapshot:
    """Undo `encode_snapshot`; raises `ProtocolError` for any other data."""
    try:
        return _snapshot_decoder.decode(data)
    except _UNDECODABLE as error:
        raise ProtocolError(f"the received data is no snapshot: {error}") from error


def chunk_size(max_frame: int) -> int:
    """The bytes of a snapshot in one frame of at most `max_frame` bytes."""
    return min(CHUNK_BYTES, max_frame - _CHUNK_OVERHEAD)


def snapshot_frames(data: bytes | bytearray, chunk_bytes: int = CHUNK_BYTES) -> list[bytes]:
    """An encoded snapshot as frames, each with `chunk_bytes` bytes of it."""
    last = max(len(data) - 1, 0) // chunk_bytes
    return [
        frame(SnapshotChunk(bytes(data[i * chunk_bytes : (i + 1) * chunk_bytes]), i == last))
        for i in range(last + 1)
    ]
