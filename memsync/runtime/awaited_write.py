"""One write under way, with the thread or the future that waits for it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from ..clocks import monotonic
from ..errors import MemSyncError
from ..replication.entries import Propose
from ..replication.pending import PendingWrite
from ..replication.write_concern import ConcernProgress
from .futures import WriteFuture
from .wakeup import Wakeup


class AwaitedWrite(PendingWrite):
    """A write that a thread can wait for, until `deadline` (monotonic seconds)."""

    __slots__ = ("_decided", "accepted", "deadline", "future", "has_write_concern", "progress")

    def __init__(
        self, proposal: Propose, deadline: float, future: WriteFuture | None, encoded: bytes
    ) -> None:
        super().__init__(proposal, encoded)
        # Whether it asks for more than the default write concern.
        self.has_write_concern = proposal.w is not None or proposal.journal
        self.deadline = deadline
        self.future = future
        self.accepted = 0  # its version, while only its concern is not met
        self.progress: ConcernProgress | None = None
        self._decided: Wakeup | None = None  # of the waiting threads; mostly there is none

    def resolve(self, version: int, error: MemSyncError | None) -> None:
        """Set the outcome and wake the waiting threads; only the first outcome counts.

        A call that an exception ended early is completed by the next one.
        """
        if not self.done:
            super().resolve(version, error)
        if self._decided is not None:
            self._decided.set()
        future = self.future
        if future is not None:
            assert self.version is not None
            future.finish(self.version, self.error)
            self.future = None  # last; the write is remembered for longer

    def wait(self, guard: AbstractContextManager[Any], deadline: float) -> None:
        """Wait for the outcome, until the deadline (monotonic seconds), without the guard."""
        if self.done:
            return
        with guard:  # all threads that wait have one wake-up
            decided = self._decided = self._decided or Wakeup()
        # If `resolve` has not seen it, then the write is done by now.
        if not self.done and decided.wait(deadline - monotonic()):
            decided.set()  # for another thread
