"""The types of the log: what writers propose, what the host orders and decides, and whole states.

An engine carries these between peers, beside messages of its own. Each type is a MessagePack array
whose first element is the number of the type (see `codec`). An `Entry` is the unit of the log, the
message to every replica, and the answer to the peer that proposed it. A `Decision` is the answer to
a proposal that made no entry: a refusal, an update that changed nothing, a duplicate.

They die young in great numbers, and hold only JSON values, so no cycle leads through them. With
``gc=False`` the garbage collector does not visit them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..document import PathWrite
from ..lasting import lasting


@lasting
class Propose(msgspec.Struct, array_like=True, tag=7, gc=False):
    """An update on its way to the host."""

    number: int  # position among the peer's own proposals, from 1, without gaps
    acked_below: int  # the peer knows the outcome of every lower number
    timestamp: int  # hybrid logical clock
    epoch: int  # the pair of the state on which the write was made
    version: int
    kind: str
    body: Any
    where: dict[str, Any] | None = None
    array_filters: list[Any] | None = None
    w: int | str | None = None  # write concern; None: the default, 1
    journal: bool = False
    # The lowest number of an own write, pending when this one was made, that moved elements which
    # this one names by their index; 0: none. See `moved_indexes`.
    relies_on: int = 0
    event: list[Any] | None = None  # [name, arguments] that the entry is to carry as well
    lock: list[Any] | None = None  # [name, request, token] of a lock that its peer must hold


@lasting
class Entry(msgspec.Struct, array_like=True, tag=8, gc=False):
    """An accepted proposal, ordered and compiled."""

    epoch: int
    version: int
    peer: str
    number: int  # 0: made by the host itself, not proposed by a writer
    timestamp: int
    kind: str
    body: Any  # its kind defines it (see `kinds`)
    acked_below: int = 0
    decided: list[list[Any]] = []  # [number, version, error] of this peer's that made no entry
    # For the conflict rule: the paths that the update names, and the arrays in which it has moved
    # elements. None: those of a ``$set`` to which each operation belongs.
    written: list[PathWrite] | None = []
    event: list[Any] | None = None  # [name, arguments], which peers get once and in this order


@lasting
class Decision(msgspec.Struct, array_like=True, tag=9, gc=False):
    """The outcome of a proposal: a version, or the error that refuses it."""

    number: int
    version: int
    error: list[Any] | None = None
    made_entry: bool = False  # there is an entry, which the peer may not have received


@lasting
class SnapshotChunk(msgspec.Struct, array_like=True, tag=6, gc=False):
    """A piece of an encoded snapshot."""

    data: bytes
    last: bool


@lasting
class History(msgspec.Struct, array_like=True):
    """The entries of a log that lead from a pair to a later one."""

    epoch: int
    version: int
    bodies: list[bytes]  # encoded entries, from `version` + 1 on


@lasting
class Snapshot(msgspec.Struct):
    """A whole state at ``(epoch, version)``; travels in `SnapshotChunk`s."""

    epoch: int
    version: int
    cluster_id: str
    options: dict[str, Any]
    sessions: dict[str, tuple[int, list[tuple[int, list[Any]]]]]  # last number, [number, outcome]
    parts: dict[str, msgspec.Raw]  # by kind, as it encodes its part of the state
    # What leads to the state, for peers that have less: the receiver may be the next host.
    history: History | None = None
