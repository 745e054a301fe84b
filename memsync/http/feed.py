"""The entries of one object as its streams need them.

A stream has no queue. It is a place in the log, the pair that it has sent last, and reads what
comes behind it. If the log holds that pair no more, the stream goes on with a snapshot. Streams at
the same place share one reading and one encoding.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from ..document import Operation, encoded_json
from ..replication.codec import decode_entry
from ..replication.entries import Entry
from ..replication.log import Log
from .relative import CHANGED, relative
from .served import ABSENT, value_at, wake
from .target import Tokens

if TYPE_CHECKING:
    from ..runtime.participant import Participant
    from .served import Served

Pair = tuple[int, int]

READ_BYTES = 1 << 19  # of the log, at a time
_CACHED_BYTES = 1 << 20
_OVERHEAD = 200  # bytes of a cached block, about


class Follower(Protocol):
    """A stream of the object."""

    def advanced(self, log: Log) -> None:
        """Entries were published, or the peer has stopped."""


class Feed:
    """Wakes the streams of one object when entries were published. On the thread of the loop."""

    def __init__(self, served: Served, loop: asyncio.AbstractEventLoop) -> None:
        self._served = served
        self._loop = loop
        self._streams: set[Follower] = set()
        self._is_noted = False
        self._read: tuple[Pair, Pair, list[Entry]] | None = None
        self._blocks: dict[tuple[Pair, Tokens], bytes | None] = {}
        self._cached = 0  # bytes in `_blocks`

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    @contextmanager
    def following(self, stream: Follower) -> Iterator[Participant]:
        """Wake a stream; the log is followed while there is one."""
        participant = self._served.participant
        waiting = participant.entry_waiters.waiting
        if not self._streams:
            waiting.append(self)
        self._streams.add(stream)
        try:
            yield participant
        finally:
            self._streams.discard(stream)
            if not self._streams:
                with suppress(ValueError):
                    waiting.remove(self)
                self._read = None
                self._forget_blocks()

    def set(self) -> None:
        """Entries were published, or the peer has stopped. On any thread; does not block."""
        if not self._is_noted:
            self._is_noted = True
            wake(self._loop, self._advanced)

    def _advanced(self) -> None:
        self._is_noted = False
        log = self._served.engine.participant.log
        for stream in self._streams:
            stream.advanced(log)

    def entries(self, participant: Participant, pair: Pair) -> list[Entry] | None:
        """Some entries behind a pair, none at the end; None if the log does not hold the pair."""
        with participant.guard:
            now = participant.state.pair
            if participant.state.torn:
                return [] if pair == now else None
            if self._read is not None and self._read[:2] == (pair, now):
                return self._read[2]
            bodies = participant.log.next_above(*pair, READ_BYTES)
        if bodies is None:
            return None
        entries = [decode_entry(body) for body in bodies]
        self._read = pair, now, entries
        return entries

    def block(self, participant: Participant, entry: Entry, tokens: Tokens) -> bytes | None:
        """The event of an entry, b"" if it does not concern the part; None: not known from it."""
        key = (entry.epoch, entry.version), tokens
        if key not in self._blocks:
            block = self._new_block(participant, entry, tokens)
            self._cached += _OVERHEAD + len(block or b"")
            if self._cached > _CACHED_BYTES:
                self._forget_blocks()
            self._blocks[key] = block
        return self._blocks[key]

    def _new_block(self, participant: Participant, entry: Entry, tokens: Tokens) -> bytes | None:
        kind = participant.state.kinds.get(entry.kind)
        operations = kind.changes(entry) if kind is not None else []
        if not operations:
            return b""
        patch: list[Operation] = []
        for operation in operations:
            found = relative(operation, tokens, participant.state.document)
            if found is CHANGED:
                return None
            if found is not None:
                patch.append(found)
        if not patch:
            return b""
        data = {"epoch": entry.epoch, "version": entry.version, "peer": entry.peer, "patch": patch}
        return event("patch", (entry.epoch, entry.version), encoded_json(data))

    def _forget_blocks(self) -> None:
        self._blocks.clear()
        self._cached = 0


def snapshot(participant: Participant, tokens: Tokens) -> tuple[bytes, Pair] | None:
    """The event with the confirmed value of a part, and its pair; None while the copy is torn."""
    state = participant.state
    with participant.guard:
        if state.torn or state.pair == (0, 0):
            return None
        value: Any = value_at(state.document, tokens)
        body = bytes(encoded_json(None if value is ABSENT else value))
        epoch, version = state.pair
    exists = b"false" if value is ABSENT else b"true"
    data = b'{"epoch":%d,"version":%d,"exists":%s,"value":%s}' % (epoch, version, exists, body)
    return event("snapshot", (epoch, version), data), (epoch, version)


def event(name: str, pair: Pair, data: bytes | bytearray) -> bytes:
    """A server-sent event."""
    return b"event: %s\nid: %d-%d\ndata: %s\n\n" % (name.encode(), *pair, data)
