"""One write on its way: what was asked for, who waits for it, and which way it goes."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

from ..errors import MemSyncError
from ..replication.concern import Await, Reached
from ..replication.entries import Propose
from ..replication.writes import Write


class PendingWrite(Write):
    """A write that a thread may wait for, until `deadline` (monotonic seconds)."""

    def __init__(
        self, proposal: Propose, deadline: float, future: Future[int] | None, size: int
    ) -> None:
        super().__init__(proposal, size)
        self.deadline = deadline
        self.future = future
        self.accepted = 0  # version, once it is in the log and only its concern is not met
        self.progress: Reached | None = None
        self._decided = threading.Lock()
        self._decided.acquire()

    @property
    def is_concerned(self) -> bool:
        """Whether it asks for more than the usual write concern."""
        return self.proposal.w is not None or self.proposal.journal

    def resolve(self, version: int, error: MemSyncError | None) -> None:
        """Set the outcome and wake who waits; once it is known, nothing changes it."""
        if self.done:
            return
        super().resolve(version, error)
        self._decided.release()
        if self.future is None:
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(version)

    def wait(self, deadline: float) -> None:
        """Wait until the outcome is known, or the time is over (monotonic seconds)."""
        if not self.done and self._decided.acquire(timeout=max(deadline - time.monotonic(), 0)):
            self._decided.release()


class Call(NamedTuple):
    """What the user asked for, beside the update; `deadline` is in monotonic seconds."""

    where: Any = None
    array_filters: Any = None
    w: Any = 1
    journal: bool = False
    deadline: float = 0.0


class Way(Protocol):
    """Where writes go: the role which the peer plays."""

    def queue_write(self, write: PendingWrite, encoded: bytes) -> None:
        """Append a write to the stream, without I/O."""

    def queue_await(self, message: Await) -> None:
        """Ask the host to watch over an accepted write; without I/O."""

    def kick(self, *, lazy: bool = False) -> None:
        """Send what is queued; a lazy kick may leave it for a moment, to be sent with more."""

    def wait_for(self, write: PendingWrite, deadline: float) -> None:
        """Help the write to its outcome, where the waiting thread can; may return early."""

    def break_off(self) -> None:
        """The calling thread was interrupted somewhere in here: take up the writes anew."""
