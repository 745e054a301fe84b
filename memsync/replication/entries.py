"""The types of the log: what writers propose, what the host orders and decides, and whole states.

An engine carries these between peers; what else its links say is the engine's own matter. Each type
is a MessagePack array whose first element is the number of its kind (see `codec`). `Entry` is both
the unit of the log and the push that replicas get; for the peer that proposed it, its own entry
*is* the answer. `Decision` answers what made no entry: a refusal, an update that changed nothing, a
duplicate.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..document import PathWrite


class Propose(msgspec.Struct, array_like=True, tag=7):
    """An update on its way to the host."""

    number: int  # position among the peer's own proposals, without gaps, from 1
    acked_below: int  # every own number below this one has an outcome the peer knows
    timestamp: int  # hybrid logical clock
    epoch: int  # the state the write was made on
    version: int
    kind: str
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
    kind: str
    body: Any  # as its kind says (see `kinds`)
    acked_below: int = 0
    decided: list[list[Any]] = []  # the peer's [number, version, error] that made no entry
    written: list[PathWrite] = []  # the paths which the update named, for the conflict rule


class Decision(msgspec.Struct, array_like=True, tag=9):
    """The outcome of a proposal: the version it counts from, or the error that refused it."""

    number: int
    version: int
    error: list[Any] | None = None
    made_entry: bool = False  # it did, but the peer may not have got that


class SnapshotChunk(msgspec.Struct, array_like=True, tag=6):
    """A piece of an encoded snapshot."""

    data: bytes
    last: bool


class Snapshot(msgspec.Struct):
    """A whole state at ``(epoch, version)``; travels in `SnapshotChunk`s."""

    epoch: int
    version: int
    cluster_id: str
    options: dict[str, Any]
    sessions: dict[str, tuple[int, list[tuple[int, list[Any]]]]]  # last, [number, outcome]
    parts: dict[str, msgspec.Raw]  # by kind, as it encodes its chunk of the state
