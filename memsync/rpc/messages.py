"""The messages of one connection between a caller and a callee.

A call ends with exactly one `Result`, `Failure` or, for a generator method, `End`. Numbers of calls
belong to the connection; the caller counts them up. What a program has passed or returned is a
`Payload`: its bytes are decoded by the thread that needs the value, never by the thread that reads
the connection, because unpickling runs code of the program.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..document import encoded
from ..errors import TooLargeError
from ..lasting import lasting
from ..replication.codec import decode_with

RPC_PROTOCOL = 1
"""Number of the format of calls; a link whose ends differ in it refuses to open."""


@lasting
class Payload(msgspec.Struct, array_like=True):
    """Values of a program: MessagePack, or a pickle."""

    data: bytes
    pickled_by: str = ""  # "": MessagePack; else the versions that wrote the pickle


@lasting
class Frame(msgspec.Struct, array_like=True):
    """One line of a traceback."""

    file: str
    function: str
    line: int


@lasting
class Twin(msgspec.Struct, array_like=True):
    """An exception as text, and as a pickle where one was proved to survive a round trip."""

    type: str  # with its module
    message: str
    notes: list[str]
    frames: list[Frame]
    text: str  # the traceback with its chain; only the outermost exception has it
    rebuild: Payload | None  # None: the exception cannot be rebuilt
    cause: Twin | None = None
    context: Twin | None = None
    suppress_context: bool = False
    members: list[Twin] | None = None  # of an exception group


@lasting
class Call(msgspec.Struct, array_like=True, tag=1):
    """Run a method. The caller gives up after `budget_ms`."""

    id: int
    method: str
    payload: Payload  # [args, kwargs]
    budget_ms: int
    is_stated: bool = True  # False: a default, which bounds each wait but not a whole stream
    epoch: int = 0  # the caller's pair: the callee runs nothing before it has seen as much
    version: int = 0
    depth: int = 0  # of how many running calls, each made by the one before, it is the last


@lasting
class PublishedFunction(msgspec.Struct, array_like=True):
    """A published function, as the state of the group has it; `flags` as those of a method."""

    payload: Payload
    flags: str = ""


@lasting
class Streaming(msgspec.Struct, array_like=True, tag=2):
    """The method is a generator: `Item` follow, then `End` or `Failure`."""

    id: int


@lasting
class Item(msgspec.Struct, array_like=True, tag=3):
    """The next value of a stream."""

    id: int
    payload: Payload
    epoch: int = 0  # the callee's pair: the caller gets the value once it has seen as much
    version: int = 0


@lasting
class End(msgspec.Struct, array_like=True, tag=4):
    """The stream is complete."""

    id: int
    epoch: int = 0  # as of an `Item`
    version: int = 0


@lasting
class Result(msgspec.Struct, array_like=True, tag=5):
    """The value that the method has returned."""

    id: int
    payload: Payload
    epoch: int = 0  # as of an `Item`
    version: int = 0


@lasting
class Failure(msgspec.Struct, array_like=True, tag=6):
    """The method has raised, or was not run: then `error` says why (see `errors.to_wire`)."""

    id: int
    twin: Twin | None
    error: list[Any] | None = None
    epoch: int = 0  # as of an `Item`, if the method has run
    version: int = 0


@lasting
class Progress(msgspec.Struct, array_like=True, tag=7):
    """How far the method is; the newest one replaces the others."""

    id: int
    done: float
    total: float | None = None
    note: str = ""


@lasting
class Credit(msgspec.Struct, array_like=True, tag=8):
    """The caller has consumed `count` items, so as many more may be sent."""

    id: int
    count: int


@lasting
class Cancel(msgspec.Struct, array_like=True, tag=9):
    """The caller no longer wants an answer, and none is sent."""

    id: int


Message = Call | Streaming | Item | End | Result | Failure | Progress | Credit | Cancel
Answer = Streaming | Item | End | Result | Failure | Progress
"""What a callee sends."""

_decoder = msgspec.msgpack.Decoder(Message)


def encode(message: Message, max_bytes: int) -> bytes:
    """A message as MessagePack; raises `TooLargeError` over `max_bytes` (``network.maxFrame``)."""
    data = bytes(encoded(message))
    if len(data) > max_bytes:
        raise TooLargeError(
            f"a {type(message).__name__} of a remote call has {len(data)} bytes, over "
            f"network.maxFrame ({max_bytes}): send less, or raise network.maxFrame"
        )
    return data


def decode(data: bytes | memoryview) -> Message:
    """Undo `encode`; raises `ProtocolError` for any other data."""
    message: Message = decode_with(_decoder, data)
    return message


_published = msgspec.msgpack.Decoder(PublishedFunction)


def published_of(data: bytes) -> PublishedFunction:
    """A published function from its bytes; raises `msgspec.MsgspecError`."""
    return _published.decode(data)
