"""A peer's own proposals, from their number to their outcome.

A number is given once, in the order of the calls, and kept until its outcome is known, across any
number of hosts. Until then the write is *pending*: the peer shows it on top of the confirmed state
(see `replica`). After that an accepted write is remembered for a while: a peer that was cut off
while its host was replaced may hold own entries which the new host has never seen, and proposes
them again under their old numbers.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Generic, TypeVar

from ..errors import MemSyncError
from .entries import Propose


class PendingWrite:
    """One proposal; `operations` are what it changes in the document that the peer shows.

    `was_shown` says that it has changed something there at some time. Once decided, it has an
    outcome: `version` or `error`.
    """

    def __init__(self, proposal: Propose, size: int = 0) -> None:
        self.proposal = proposal
        self.size = size  # bytes on the wire
        self.operations: list[dict[str, Any]] = []
        self.was_shown = False
        self.version: int | None = None
        self.error: MemSyncError | None = None
        self.done = False

    def resolve(self, version: int, error: MemSyncError | None) -> None:
        """Set the outcome."""
        self.version = version
        self.error = error
        self.done = True


W = TypeVar("W", bound=PendingWrite)


class PendingWrites(Generic[W]):
    """The numbered writes of one peer; `keep` accepted ones of `keep_bytes` are remembered."""

    def __init__(self, keep: int, keep_bytes: int = 1 << 26) -> None:
        self.pending: dict[int, W] = {}
        self.keep = keep
        self._keep_bytes = keep_bytes
        self._recent: deque[W] = deque()
        self._recent_bytes = 0
        self._forgotten: deque[int] = deque(maxlen=keep)  # numbers of accepted ones, for a count
        self._next = 1
        self.first_unknown = 1  # an outcome of every number below was known at some time
        # An attribute rather than a look into `pending`, for other threads read it without a lock.
        self.first_open = 1
        """The first_open number whose outcome is unknown."""

    @property
    def next_number(self) -> int:
        """The number which the next write gets.

        It is above every number that was given, also by an `add` that was interrupted: the write
        is pending then, and may be decided by now.
        """
        return max(self._next, next(reversed(self.pending), 0) + 1, self.first_unknown)

    def add(self, write: W) -> None:
        """Take in a write that carries `next_number`."""
        number = write.proposal.number
        assert number == self.next_number
        self.pending[number] = write
        self._next = number + 1
        self._find_first_open()

    def complete(self, number: int, *, made_entry: bool) -> W | None:
        """Take a write out of the pending ones, or None when its outcome was known before.

        One that made an entry is remembered; what changed nothing has nothing to bring back.
        """
        write = self.pending.pop(number, None)
        if write is None:
            return None
        self.first_unknown = max(self.first_unknown, number + 1)
        self._find_first_open()
        if made_entry:
            self._remember(write)
        return write

    def _remember(self, write: W) -> None:
        self._recent.append(write)
        self._recent_bytes += write.size
        while len(self._recent) > self.keep or self._recent_bytes > self._keep_bytes:
            oldest = self._recent.popleft()
            self._recent_bytes -= oldest.size
            self._forgotten.append(oldest.proposal.number)

    def recall(self, last: int) -> int:
        """A host that decided our numbers up to `last` epochs: what it lacks is pending again.

        Returns how many of those it lacks are not remembered any more, so that they are lost. (At
        least: this is counted for as many as are remembered at most.)
        """
        lost = [write for write in self._recent if write.proposal.number > last]
        if not lost:
            return 0
        self._recent = deque(write for write in self._recent if write.proposal.number <= last)
        self._recent_bytes = sum(write.size for write in self._recent)
        waiting = [*lost, *self.pending.values()]
        self.pending = {
            write.proposal.number: write
            for write in sorted(waiting, key=lambda write: write.proposal.number)
        }
        self._find_first_open()
        for write in self.pending.values():  # it said so when the recalled ones had an outcome
            write.proposal.acked_below = min(write.proposal.acked_below, self.first_open)
        gone = sum(number > last for number in self._forgotten)
        self._forgotten.clear()
        return gone

    def forget_accepted(self) -> int:
        """The network in which they were accepted gave up: nothing of it is brought back.

        Returns how many of those are lost that were told as accepted (at least, as in `recall`).
        """
        lost = len(self._forgotten) + sum(write.done for write in self._recent)
        self._recent.clear()
        self._recent_bytes = 0
        self._forgotten.clear()
        return lost

    def have_seen_nothing(self) -> None:
        """The pending writes were made on another object than the one to which they go now."""
        for write in self.pending.values():
            write.proposal.epoch = write.proposal.version = 0

    def after(self, last: int) -> list[W]:
        """What a host that decided this peer's numbers up to `last` must be sent, in sequence."""
        return [write for number, write in self.pending.items() if number > last]

    def _find_first_open(self) -> None:
        self.first_open = next(iter(self.pending), 0) or self.next_number
