"""Own writes that are accepted and wait for what their write concern asks for.

They are in the object, whatever comes; what is open is only whether the caller gets a version or
`WriteConcernError`. The host tells how far each has come; a new host is asked to go on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..errors import MemSyncError, WriteConcernError
from ..replication.write_concern import ConcernProgress, ResumeConcern
from .awaited_write import AwaitedWrite


class AckWaiters:
    """The accepted writes of one peer whose concern is not met; `ended` is told of each end."""

    def __init__(self, guard: Any, ended: Callable[[AwaitedWrite], None]) -> None:
        self._guard = guard
        self._ended = ended
        self._writes: dict[int, AwaitedWrite] = {}

    def waiting(self) -> list[AwaitedWrite]:
        """The writes, in the order of their numbers."""
        with self._guard:
            return list(self._writes.values())

    def add(self, write: AwaitedWrite, version: int) -> None:
        """A write is accepted; the host may have told of it already."""
        write.accepted = version
        with self._guard:
            self._writes[write.proposal.number] = write
        if write.progress is not None:
            self.reached(write.progress)

    def reached(self, progress: ConcernProgress) -> None:
        """The host tells how far a write has come."""
        write = self._writes.get(progress.number)
        if write is None:
            return  # given up
        write.progress = progress
        if progress.reached >= progress.wanted:
            self._end(write, None)
        elif not progress.possible:
            self._end(write, _unmet(write, "there are not that many living members"))

    def give_up(self, write: AwaitedWrite) -> None:
        """The time of a write is over; without effect unless it waits for its concern."""
        self._end(write, _unmet(write, "that was not confirmed in time"))

    def next_deadline(self) -> float:
        """When the next of them ends (monotonic seconds)."""
        if not self._writes:
            return math.inf
        return min((write.deadline for write in self.waiting()), default=math.inf)

    def give_up_late(self, now: float) -> None:
        """End the waiting of those whose time is over (monotonic seconds)."""
        if self._writes:
            for write in self.waiting():
                if write.deadline <= now:
                    self.give_up(write)

    def resumes(self) -> list[ResumeConcern]:
        """What to ask a new host; the guard is held."""
        return [
            ResumeConcern(
                number,
                write.accepted,
                write.progress.wanted if write.progress else write.proposal.w or 1,
                write.proposal.journal,
            )
            for number, write in self._writes.items()
        ]

    def take_back(self) -> list[AwaitedWrite]:
        """The host that accepted them was deposed: who knows whether they are in the object."""
        with self._guard:
            writes, self._writes = list(self._writes.values()), {}
        return writes

    def _end(self, write: AwaitedWrite, error: MemSyncError | None) -> None:
        # Under the guard: the engine's thread and the thread that gives up may both come here.
        with self._guard:
            if self._writes.pop(write.proposal.number, None) is None:
                return  # resolved already, or taken back
            write.resolve(write.accepted, error)
        self._ended(write)


def _unmet(write: AwaitedWrite, why: str) -> WriteConcernError:
    proposal, progress = write.proposal, write.progress
    wanted = progress.wanted if progress else proposal.w
    reached = progress.reached if progress else 1
    journal = " and in the journal" if proposal.journal else ""
    return WriteConcernError(
        f"the write is applied, as version {write.accepted}, and stays so; but "
        f"w={proposal.w or 1!r} wants it in {wanted} members{journal}, "
        f"it is in {reached}, and {why}",
        version=write.accepted,
        wanted=wanted,
        reached=reached,
    )
