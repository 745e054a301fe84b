"""Accepted writes whose write concern is not met yet.

Such a write is in the object for good. Only the caller's result is open: a version, or
`WriteConcernError`. The host reports the progress; a new host is asked to continue.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..errors import MemSyncError, WriteConcernError
from ..replication.outcomes import Outcome
from ..replication.write_concern import ConcernProgress, ResumeConcern
from .awaited_write import AwaitedWrite


class AckWaiters:
    """The waiting writes of one peer, by number; `ended` is called with resolved writes."""

    def __init__(self, guard: Any, ended: Callable[[list[AwaitedWrite]], None]) -> None:
        self._guard = guard
        self._ended = ended
        self._writes: dict[int, AwaitedWrite] = {}

    def add(self, write: AwaitedWrite, version: int) -> None:
        """Wait for the concern of an accepted write; the host may have reported on it already."""
        write.accepted = version
        with self._guard:
            self._writes[write.number] = write
        if write.progress is not None:
            self.reached(write.progress)

    def reached(self, progress: ConcernProgress) -> None:
        """Note the progress that the host reports."""
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
        """When the next write gives up (monotonic seconds)."""
        if not self._writes:
            return math.inf  # the usual case costs no lock
        return min((write.deadline for write in self._waiting()), default=math.inf)

    def give_up_late(self, now: float) -> None:
        """Give up the writes whose deadline has passed (monotonic seconds)."""
        if not self._writes:
            return
        for write in self._waiting():
            if write.deadline <= now:
                self.give_up(write)

    def resumes(self) -> list[ResumeConcern]:
        """The requests to a new host; the guard is held."""
        return [
            ResumeConcern(
                number,
                write.accepted,
                write.progress.wanted if write.progress else write.proposal.w or 1,
                write.proposal.journal,
            )
            for number, write in self._writes.items()
        ]

    def pop_all(self) -> list[Outcome[AwaitedWrite]]:
        """Take all writes out: the host that accepted them was deposed, so they may be lost."""
        with self._guard:
            writes, self._writes = list(self._writes.values()), {}
            outcomes = [Outcome(write, write.accepted, None, False) for write in writes]
            for write in writes:
                write.accepted = 0
        return outcomes

    def _waiting(self) -> list[AwaitedWrite]:
        with self._guard:
            return list(self._writes.values())

    def _end(self, write: AwaitedWrite, error: MemSyncError | None) -> None:
        # Under the guard: the engine's thread and the thread that gives up may both come here.
        with self._guard:
            if write.number not in self._writes:
                return  # resolved already, or taken out
            write.resolve(write.accepted, error)
            del self._writes[write.number]  # last, so that an interrupt loses no outcome
        self._ended([write])


def _unmet(write: AwaitedWrite, why: str) -> WriteConcernError:
    proposal, progress = write.proposal, write.progress
    wanted = progress.wanted if progress else proposal.w
    reached = progress.reached if progress else 1
    concern = f"w={proposal.w or 1!r} wants it in {wanted} members, it is in {reached}, and {why}"
    if proposal.journal:
        journal = "the host's journal has not confirmed that it is on the disk (see get_status())"
        concern = journal if proposal.w is None else f"{journal}, or {concern}"
    return WriteConcernError(
        f"the write is applied, as version {write.accepted}, and stays applied; but {concern}",
        version=write.accepted,
        wanted=wanted,
        reached=reached,
    )
