"""The messages of one connection: joining, catching up, recovery, liveness, handover.

The types of the log are in `replication.entries`; `replication.codec` encodes all messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ...lasting import lasting
from ...replication.codec import decode_with
from ...replication.entries import Decision, Entry, Propose, SnapshotChunk
from ...replication.membership import new_member
from ...replication.write_concern import ConcernProgress, ResumeConcern

PROTOCOL = 9
"""Number of the protocol; peers with different numbers refuse each other."""


@lasting
class Hello(msgspec.Struct, array_like=True, tag=1):
    """A peer that has fenced its old link asks to be attached, and reports its state."""

    protocol: int
    name: str
    peer: str
    pid: int
    roles: list[str]
    epoch: int  # 0: the peer has no state yet
    version: int
    first_open: int  # the lowest own number whose outcome the peer does not know
    client_only: bool = False
    max_writers: int | None = None
    methods: list[str] = []
    options: dict[str, Any] = {}  # the group options that the peer states
    first_unknown: int = 1  # a host, perhaps a lost one, has decided every own number below
    server_only: bool = False
    cluster_id: str = ""  # of the state; "": the peer has none
    waits: bool = False  # it stands by where there is no place for it

    def member(self) -> dict[str, Any]:
        """The peer as the group remembers it."""
        return new_member(
            self.peer,
            self.pid,
            self.roles,
            methods=self.methods,
            max_writers=self.max_writers,
            client_only=self.client_only,
            server_only=self.server_only,
        )


@lasting
class Welcome(msgspec.Struct, array_like=True, tag=2):
    """The peer is attached; entries up to `version`, or a snapshot at `version`, follow."""

    host: str
    epoch: int
    version: int
    snapshot: bool
    last: int  # the last own number of the peer that was decided


@lasting
class Refused(msgspec.Struct, array_like=True, tag=3):
    """The peer is not attached; `error` says why (see `errors.to_wire`)."""

    error: list[Any]


@lasting
class Fetch(msgspec.Struct, array_like=True, tag=4):
    """A candidate asks a survivor for everything after the candidate's own pair."""

    epoch: int
    version: int
    oldest: int = 0  # the lowest version that a peer has reported


@lasting
class Source(msgspec.Struct, array_like=True, tag=5):
    """A survivor answers `Fetch`: entries up to `version`, or a snapshot at it, follow."""

    epoch: int
    version: int
    snapshot: bool


@lasting
class Resend(msgspec.Struct, array_like=True, tag=10):
    """The host misses proposals and asks the peer for them from `number` on."""

    number: int


@lasting
class Leave(msgspec.Struct, array_like=True, tag=11):
    """The peer stops, and its membership ends."""


@lasting
class Ping(msgspec.Struct, array_like=True, tag=12):
    """Asks for an immediate `Pong` with the same token."""

    token: int


@lasting
class Pong(msgspec.Struct, array_like=True, tag=13):
    """The answer to a `Ping`."""

    token: int


@lasting
class Confirm(msgspec.Struct, array_like=True, tag=14):
    """The host asks a peer to send `Applied` once it has applied everything up to here."""


@lasting
class Applied(msgspec.Struct, array_like=True, tag=15):
    """A peer's copy has reached this version."""

    version: int


@lasting
class Grant(msgspec.Struct, array_like=True, tag=18):
    """The host lets a peer that has all entries up to here take the next epoch."""

    epoch: int  # the next one
    version: int
    leaves: bool = True  # the host leaves the group; else it stays as a client


@lasting
class Flush(msgspec.Struct, array_like=True, tag=21):
    """Asks the host to save what is in the object by now."""

    token: int


@lasting
class Flushed(msgspec.Struct, array_like=True, tag=22):
    """The answer to a `Flush`: it is durable, or the error that prevents it."""

    token: int
    error: list[Any] | None = None


@lasting
class CallHello(msgspec.Struct, array_like=True, tag=20):
    """A peer that wants to call another one opens a connection to its listener."""

    protocol: int
    name: str
    peer: str
    pid: int
    callee: str


Message = (
    Hello
    | Welcome
    | Refused
    | Fetch
    | Source
    | SnapshotChunk
    | Propose
    | Entry
    | Decision
    | Resend
    | Leave
    | Ping
    | Pong
    | Confirm
    | Applied
    | ResumeConcern
    | ConcernProgress
    | Grant
    | CallHello
    | Flush
    | Flushed
)

_decoder = msgspec.msgpack.Decoder(Message)


def parse(body: bytes | memoryview) -> Message:
    """Decode the body of a frame; raises `ProtocolError`."""
    message: Message = decode_with(_decoder, body)
    return message


def parse_entries(
    bodies: Iterator[memoryview], others: list[Message]
) -> Iterator[tuple[Entry, memoryview]]:
    """Decode entries, up to the first other message, which is appended to `others`.

    Raises `ProtocolError`.
    """
    decode = _decoder.decode
    for body in bodies:
        try:
            message = decode(body)
        except Exception:
            message = parse(body)  # it says what is wrong
        if type(message) is not Entry:
            others.append(message)
            return
        yield message, body
