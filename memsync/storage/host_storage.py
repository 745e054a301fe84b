"""What a host keeps on disk: the saver of the object, and the journal beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..clocks import monotonic
from ..options.keep import parse_keep
from ..replication.group_options import group_value
from ..runtime.flushes import Answer
from ..runtime.participant import Participant
from .bases import Bases
from .journal import SEGMENT_BYTES, Journal
from .saver import MayWrite, Saver, stored_at
from .snapshot_file import Pair

BASE_GAP = 4 * SEGMENT_BYTES
"""Bytes of journal between two bases, at least."""


def journal_of(participant: Participant) -> str | None:
    """The file beside which the group keeps a journal; None if it keeps none."""
    path = stored_at(participant)
    return path if path and group_value(participant.state.options, "file.journal") else None


class HostStorage:
    """Saves and journals the object of a host from `start` to `stop`.

    `durable` is called with each version up to which all entries are durable, `reported` when the
    status has changed; both by threads of this object, and they must not block.
    """

    def __init__(
        self,
        participant: Participant,
        epoch: int,
        may_write: MayWrite,
        durable: Callable[[int], None],
        reported: Callable[[], None],
    ) -> None:
        self.saver = Saver(participant, may_write, reported)
        self.journal: Journal | None = None
        path = journal_of(participant)
        if path is not None:
            keep = parse_keep(group_value(participant.state.options, "journal.keep"))
            self._bases = Bases(path, keep, BASE_GAP)
            self.journal = Journal(
                participant, path, epoch, may_write, durable, self._save_soon, reported
            )
            self.saver.on_saved = self._saved
        self._segments = 0  # opened by the journal before the last step of `_bases`
        self._on_end: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin; no entry may be ordered meanwhile."""
        if self.journal is not None:
            self.journal.start()
        self.saver.start()

    def _save_soon(self) -> None:
        """Save without the usual pause, also where no entry has changed the object."""
        self.saver.touch()
        self.saver.request(lambda error: None)

    def _saved(self, pair: Pair, crc: int) -> None:
        assert self.journal is not None
        opened, begins_at = self.journal.opened, self.journal.begins_at
        begins = begins_at is not None and pair >= begins_at
        if begins or opened != self._segments or self._bases.error is not None:
            self._segments = opened
            self._bases.saved(pair, crc, begins=begins)
        self.journal.saved(pair)

    def append(self, frame: bytes | bytearray) -> None:
        """The host has ordered an entry."""
        if self.journal is not None:
            self.journal.append(frame)

    def request(self, answer: Answer) -> None:
        """See `Saver.request`."""
        self.saver.request(answer)

    def status(self) -> dict[str, Any]:
        """See `MemSync.get_status`."""
        journal = None if self.journal is None else self.journal.status()
        return {**self.saver.status(), "journal": journal}

    @property
    def is_saving(self) -> bool:
        return self.saver.is_saving

    @property
    def is_over(self) -> bool:
        return self.saver.is_over and (self.journal is None or self.journal.is_over)

    def stop(self, *, saves: bool, on_end: Callable[[], None] | None = None) -> None:
        """End both threads; with `saves`, after all is durable. Does not wait."""
        if self.journal is not None and not self.journal.is_over:
            self.journal.stop(is_clean=saves, on_end=on_end)
        if not self.saver.is_over:
            self.saver.stop(saves=saves, on_end=on_end)

    def go_on(self, may_write: MayWrite) -> None:
        """See `Saver.go_on`; a journal does not go on in another epoch."""
        assert self.journal is None
        self.saver.go_on(may_write)

    def give_up(self, timeout: float) -> None:
        """See `Saver.give_up`."""
        if not self.saver.is_over:
            self.saver.give_up(timeout)

    def join(self, timeout: float) -> None:
        """Wait for the end of the threads (seconds)."""
        until = monotonic() + timeout
        self.saver.join(timeout)
        if self.journal is not None:
            self.journal.join(max(until - monotonic(), 0))
