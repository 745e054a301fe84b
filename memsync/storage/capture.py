"""The text of the confirmed document at one version, taken while entries go on to be applied."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from zlib import crc32

from ..document import Operation, SlicedText
from ..errors import StorageError
from ..replication.entries import Entry
from ..runtime.participant import Participant
from .snapshot_file import Pair, head

PAUSE = 0.0002
"""Seconds between two slices, in which other threads run."""


class Interrupted(Exception):
    """The copy was replaced, or is torn: capture again."""


class Summed:
    """Pieces, and the CRC-32 of those that were taken."""

    def __init__(self, pieces: Iterator[bytes | bytearray]) -> None:
        self.crc = 0
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes | bytearray]:
        for piece in self._pieces:
            self.crc = crc32(piece, self.crc)
            yield piece


class Capture:
    """One version of a participant's object; `close` must be called.

    Entries are applied through `State.replay`; while a capture is under way, it sees their
    operations first. At other times it costs them nothing.
    """

    def __init__(self, participant: Participant) -> None:
        self._state = state = participant.state
        self._guard = participant.guard
        self._failure: Exception | None = None
        with self._guard:
            self._history = (state.snapshots, state.tears)
            self._check()
            self.pair: Pair = state.pair
            self._cluster_id = state.cluster_id
            self._text = SlicedText(state.document)
            self._replay = state.replay
            state.replay = self._replay_after_look

    def pieces(self, timestamp: int) -> Iterator[bytes | bytearray]:
        """The bytes of the file; `timestamp` is in milliseconds since 1970."""
        yield head(self._cluster_id, *self.pair, timestamp)
        while (piece := self._slice()) is not None:
            yield piece
            time.sleep(PAUSE)
        yield b"}\n"

    def close(self) -> None:
        """Entries are applied as before."""
        with self._guard:
            self._state.replay = self._replay

    def _slice(self) -> bytearray | None:
        try:
            with self._guard:
                self._check()
                return self._text.slice(self._state.document)
        except Interrupted:
            raise
        except Exception as error:  # for example, other code has put something else into mem.data
            raise StorageError(f"the object cannot be encoded: {error}") from error

    def _check(self) -> None:
        if self._failure is not None:
            raise Interrupted(f"the object cannot be encoded: {self._failure}")
        state = self._state
        if state.torn or (state.snapshots, state.tears) != self._history:
            raise Interrupted("this copy of the object was replaced")

    def _replay_after_look(
        self, document: dict[str, Any], entry: Entry, operations: list[Operation], fit: bool
    ) -> dict[str, Any]:
        if operations and self._failure is None:
            try:
                self._text.before(document, operations)
            except Exception as error:  # of the capture; the entry must be applied all the same
                self._failure = error
        return self._replay(document, entry, operations, fit)
