"""What peers say to each other, and how it looks on the wire.

A message is a MessagePack array whose first element is the number of its kind. A frame is a message
behind its length (four bytes, big-endian). `Entry` is both the unit of the log and the push that
replicas get; for the peer that proposed it, its own entry *is* the answer. `Decision` answers what
made no entry: a refusal, an update that changed nothing, a duplicate.
"""

from __future__ import annotations

import struct
from typing import Any, Literal

import msgspec

from ..document import Written
from ..errors import ProtocolError

PROTOCOL = 5
"""Number of the protocol; peers of different numbers do not talk."""

Kind = Literal["patch", "event", "member", "lock", "rpc", "reign"]


class Hello(msgspec.Struct, array_like=True, tag=1):
    """A peer asks to be attached and reports what it holds, after fencing its old link."""

    protocol: int
    name: str
    peer: str
    pid: int
    roles: list[str]
    epoch: int  # 0: it holds nothing yet
    version: int
    lowest: int  # lowest own number whose outcome it does not know
    client_only: bool = False
    max_writers: int | None = None
    methods: list[str] = []
    options: dict[str, Any] = {}  # those of the group's options which it states
    known: int = 1  # it was told an outcome of every own number below, perhaps by a lost host
    server_only: bool = False
    network: str = ""  # whose object it holds; "": it holds nothing


class Welcome(msgspec.Struct, array_like=True, tag=2):
    """The peer is attached; entries up to `version`, or a snapshot of it, follow."""

    host: str
    epoch: int
    version: int
    snapshot: bool
    last: int  # last number of the peer's that was decided


class Refused(msgspec.Struct, array_like=True, tag=3):
    """The peer is not attached, and why (see `errors.to_wire`)."""

    error: list[Any]


class Fetch(msgspec.Struct, array_like=True, tag=4):
    """A candidate asks a survivor for everything after the pair it holds."""

    epoch: int
    version: int


class Source(msgspec.Struct, array_like=True, tag=5):
    """A survivor's answer to `Fetch`: entries up to `version`, or a snapshot of it, follow."""

    epoch: int
    version: int
    snapshot: bool


class SnapshotPart(msgspec.Struct, array_like=True, tag=6):
    """A piece of an encoded snapshot."""

    data: bytes
    last: bool


class Propose(msgspec.Struct, array_like=True, tag=7):
    """An update on its way to the host."""

    number: int  # position among the peer's own proposals, without gaps, from 1
    settled: int  # every own number below this one has an outcome the peer knows
    timestamp: int  # hybrid logical clock
    epoch: int  # the state the write was made on
    version: int
    kind: Kind
    body: Any
    where: dict[str, Any] | None = None
    array_filters: list[Any] | None = None
    w: int | str | None = None  # write concern; None: the host's own, 1
    journal: bool = False


class Entry(msgspec.Struct, array_like=True, tag=8):
    """An accepted proposal, ordered and compiled."""

    epoch: int
    version: int
    peer: str
    number: int  # 0: made by the host itself, not proposed by a writer
    timestamp: int
    kind: Kind
    body: Any  # kind patch: RFC 6902 operations
    settled: int = 0
    decided: list[list[Any]] = []  # the peer's [number, version, error] that made no entry
    written: list[Written] = []  # the paths which the update named, for the conflict rule


class Decision(msgspec.Struct, array_like=True, tag=9):
    """The outcome of a proposal: the version it counts from, or the error that refused it."""

    number: int
    version: int
    error: list[Any] | None = None
    made_entry: bool = False  # it did, but the peer may not have got that


class Resend(msgspec.Struct, array_like=True, tag=10):
    """The host has a gap and wants the peer's proposals from `number` on."""

    number: int


class Leave(msgspec.Struct, array_like=True, tag=11):
    """The peer stops; its membership ends now."""


class Ping(msgspec.Struct, array_like=True, tag=12):
    """To be answered at once with a `Pong` of the same token."""

    token: int


class Pong(msgspec.Struct, array_like=True, tag=13):
    """The answer to a `Ping`."""

    token: int


class Confirm(msgspec.Struct, array_like=True, tag=14):
    """The host asks a peer to say, with `Applied`, when it has all up to here."""


class Applied(msgspec.Struct, array_like=True, tag=15):
    """A peer's copy has reached this version."""

    version: int


class Await(msgspec.Struct, array_like=True, tag=16):
    """A writer asks a new host to go on watching over an accepted write's concern."""

    number: int
    version: int
    w: int | str
    journal: bool


class Reached(msgspec.Struct, array_like=True, tag=17):
    """How far a write's concern has come; it is met when `reached` is `wanted`."""

    number: int
    reached: int
    wanted: int
    possible: bool  # False: there were fewer members than wanted


class Grant(msgspec.Struct, array_like=True, tag=18):
    """A host lets a peer which has all entries up to here take the next epoch."""

    epoch: int  # the one to take
    version: int
    leaves: bool = True  # the host leaves the group; else it goes on as a client


class Snapshot(msgspec.Struct):
    """A whole state at ``(epoch, version)``; travels in `SnapshotPart`s."""

    epoch: int
    version: int
    host: str | None
    members: dict[str, dict[str, Any]]
    table: dict[str, tuple[int, list[tuple[int, list[Any]]]]]  # last, [number, outcome]
    options: dict[str, Any]
    reigns: list[tuple[int, int]]  # epoch, version of its first entry
    index: list[Any]  # see `conflicts.ConflictIndex.encode`
    document: dict[str, Any]
    network: str = ""


Message = (
    Hello
    | Welcome
    | Refused
    | Fetch
    | Source
    | SnapshotPart
    | Propose
    | Entry
    | Decision
    | Resend
    | Leave
    | Ping
    | Pong
    | Confirm
    | Applied
    | Await
    | Reached
    | Grant
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)
_snapshot_decoder = msgspec.msgpack.Decoder(Snapshot)
_length = struct.Struct(">I")

HEADER = _length.size
PART = 1 << 20  # bytes of an encoded snapshot in one `SnapshotPart`
_PART_OVERHEAD = 64  # bytes around them, at most


def frame(message: Message) -> bytes:
    """The message as bytes ready to be sent."""
    body = _encoder.encode(message)
    return _length.pack(len(body)) + body


def body_length(header: bytes | bytearray | memoryview, offset: int = 0) -> int:
    """The length which a frame's first four bytes announce."""
    length: int = _length.unpack_from(header, offset)[0]
    return length


def parse(body: bytes | memoryview) -> Message:
    """The message in a frame's body.

    Raises `ProtocolError` when it is none.
    """
    try:
        message: Message = _decoder.decode(body)
        return message
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        start = bytes(body[:40])
        raise ProtocolError(
            f"what was received is no memsync message ({error}): {start!r}..."
        ) from error


def encode_value(value: Any) -> bytes:
    """Any JSON value as MessagePack."""
    return _encoder.encode(value)


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """A snapshot as MessagePack."""
    return _encoder.encode(snapshot)


def decode_snapshot(data: bytes) -> Snapshot:
    """The snapshot that `encode_snapshot` encoded; raises `ProtocolError` when it is none."""
    try:
        return _snapshot_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"what was received is no snapshot: {error}") from error


def part_size(max_frame: int) -> int:
    """How many bytes of a snapshot go into one frame of at most so many bytes."""
    return min(PART, max_frame - _PART_OVERHEAD)


def snapshot_frames(data: bytes, part: int = PART) -> list[bytes]:
    """An encoded snapshot as frames, each with `part` bytes of it."""
    last = max(len(data) - 1, 0) // part
    return [
        frame(SnapshotPart(data[i * part : (i + 1) * part], i == last)) for i in range(last + 1)
    ]
