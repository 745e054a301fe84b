"""A peer's own proposals, from their number to their outcome.

A number is given once, in the order of the calls, and kept until its outcome is known, across any
number of hosts. After that an accepted write is remembered for a while: a peer that was cut off
while its host was replaced may hold own entries which the new host has never seen, and proposes
them again under their old numbers.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from ..errors import MemSyncError
from .messages import Propose


class Write:
    """One proposal and, once decided, its outcome: `version` or `error`."""

    def __init__(self, proposal: Propose) -> None:
        self.proposal = proposal
        self.version: int | None = None
        self.error: MemSyncError | None = None
        self.done = False

    def resolve(self, version: int, error: MemSyncError | None) -> None:
        """Set the outcome."""
        self.version = version
        self.error = error
        self.done = True


W = TypeVar("W", bound=Write)


class Writes(Generic[W]):
    """The numbered writes of one peer; at most `keep` accepted ones are remembered."""

    def __init__(self, keep: int) -> None:
        self.pending: dict[int, W] = {}
        self._recent: deque[W] = deque(maxlen=keep)
        self._next = 1

    @property
    def next_number(self) -> int:
        """The number which the next write gets."""
        return self._next

    @property
    def lowest(self) -> int:
        """The lowest number whose outcome is unknown."""
        return next(iter(self.pending), self._next)

    def add(self, write: W) -> None:
        """Take in a write that carries `next_number`."""
        assert write.proposal.number == self._next
        self.pending[self._next] = write
        self._next += 1

    def settle(self, number: int, *, accepted: bool) -> W | None:
        """Take a write out of the pending ones, or None when its outcome was known before."""
        write = self.pending.pop(number, None)
        if write is not None and accepted:
            self._recent.append(write)
        return write

    def after(self, last: int) -> list[W]:
        """What a host that decided this peer's numbers up to `last` must be sent, in sequence."""
        forgotten = [write for write in self._recent if write.proposal.number > last]
        if not forgotten:
            return [write for number, write in self.pending.items() if number > last]
        lost = {write.proposal.number: write for write in forgotten}
        lost.update(self.pending)
        return [lost[number] for number in sorted(lost) if number > last]
