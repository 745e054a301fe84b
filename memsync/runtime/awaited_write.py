"""One write under way, with the thread or the future that waits for it."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from ..clocks import monotonic
from ..errors import MemSyncError
from ..replication.entries import Propose
from ..replication.pending import PendingWrite
from ..replication.write_concern import ConcernProgress


class AwaitedWrite(PendingWrite):
    """A write that a thread can wait for, until `deadline` (monotonic seconds)."""

    def __init__(
        self, proposal: Propose, deadline: float, future: Future[int] | None, size: int
    ) -> None:
        super().__init__(proposal, size)
        self.deadline = deadline
        self.future = future
        self.accepted = 0  # its version, while only its concern is not met
        self.progress: ConcernProgress | None = None
        self._decided = threading.Lock()
        self._decided.acquire()

    @property
    def has_write_concern(self) -> bool:
        """Whether it asks for more than the default write concern."""
        return self.proposal.w is not None or self.proposal.journal

    def resolve(self, version: int, error: MemSyncError | None) -> None:
        """Set the outcome and wake the waiting threads; a second call has no effect."""
        if self.done:
            return
        super().resolve(version, error)
        self._decided.release()
        future, self.future = self.future, None  # the write is remembered for longer
        if future is None:
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(version)

    def wait(self, deadline: float) -> None:
        """Wait for the outcome, until the deadline (monotonic seconds)."""
        if not self.done and self._decided.acquire(timeout=max(deadline - monotonic(), 0)):
            self._decided.release()
