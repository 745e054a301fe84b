"""What the peers of one machine say to each other over a link, beside the types of the log.

Each is one connection's matter: greeting, catching up, recovery, liveness, hand-over. How messages
become bytes is told in `replication.codec`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...replication.codec import decode_with
from ...replication.entries import Decision, Entry, Propose, SnapshotChunk
from ...replication.membership import new_member
from ...replication.write_concern import ConcernProgress, ResumeConcern

PROTOCOL = 5
"""Number of the protocol; peers of different numbers do not talk."""


class Hello(msgspec.Struct, array_like=True, tag=1):
    """A peer asks to be attached and reports what it holds, after fencing its old link."""

    protocol: int
    name: str
    peer: str
    pid: int
    roles: list[str]
    epoch: int  # 0: it holds nothing yet
    version: int
    first_open: int  # first_open own number whose outcome it does not know
    client_only: bool = False
    max_writers: int | None = None
    methods: list[str] = []
    options: dict[str, Any] = {}  # those of the group's options which it states
    first_unknown: int = (
        1  # it was told an outcome of every own number below, perhaps by a lost host
    )
    server_only: bool = False
    cluster_id: str = ""  # whose object it holds; "": it holds nothing

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


class Grant(msgspec.Struct, array_like=True, tag=18):
    """A host lets a peer which has all entries up to here take the next epoch."""

    epoch: int  # the one to take
    version: int
    leaves: bool = True  # the host leaves the group; else it goes on as a client


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
)

_decoder = msgspec.msgpack.Decoder(Message)


def parse(body: bytes | memoryview) -> Message:
    """The message in a frame's body; raises `ProtocolError` when it is none."""
    message: Message = decode_with(_decoder, body)
    return message
