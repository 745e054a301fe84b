"""A peer's own proposals, from their number to their outcome.

A number is given once, in the order of the calls, and stays with the write across any number of
hosts. A write is *pending* until its outcome is known, and the peer shows it on top of the
confirmed state (see `replica`). After that, an accepted write is remembered for a while: if the
peer was cut off while its host was replaced, the new host may lack the entry, and the peer proposes
the write again under its old number.

A remembered write is kept as the frame that carried it, which takes a tenth of the memory of the
decoded proposal. What each takes beside its frame is counted as well, so a limit in bytes holds for
many small writes too.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Generic, TypeVar

from ..document import places_filled
from ..errors import MemSyncError
from .codec import decode_proposal, frame
from .entries import Propose

_RECORD_BYTES = 280
"""What a remembered write takes beside its frame."""
_MAX_FORGOTTEN = 10_000


class PendingWrite:
    """One proposal; `operations` are its effect on the view of this peer.

    `was_shown` is True once it has changed the view. When it is `done`, it has a `version`, and an
    `error` if it was refused. `encoded` is its frame; "" stands for one that is not known.
    """

    __slots__ = (
        "_encoded",
        "_proposal",
        "done",
        "error",
        "number",
        "operations",
        "size",
        "version",
        "was_shown",
    )

    def __init__(self, proposal: Propose, encoded: bytes = b"") -> None:
        self.number = proposal.number
        self.size = len(encoded)  # bytes on the wire
        self._proposal: Propose | None = proposal
        self._encoded = encoded
        self.operations = _NO_OPERATIONS
        self.was_shown = False
        self.version: int | None = None
        self.error: MemSyncError | None = None
        self.done = False

    @property
    def proposal(self) -> Propose:
        """The proposal; a copy once the write is packed."""
        proposal = self._proposal
        return decode_proposal(self._encoded) if proposal is None else proposal

    def pack(self) -> None:
        """Keep the proposal as its frame only."""
        if self._proposal is not None:
            self._encoded = self._encoded or frame(self._proposal)
            self.size = len(self._encoded)
            self.operations = _NO_OPERATIONS
            self._proposal = None

    def unpack(self) -> Propose:
        """The proposal, which the caller may change."""
        self._proposal = proposal = self.proposal
        self._encoded = b""  # it may not be its frame any more
        return proposal

    def resolve(self, version: int, error: MemSyncError | None) -> None:
        """Set the outcome."""
        self.version = version
        self.error = error
        self.done = True


_NO_OPERATIONS: list[dict[str, Any]] = []
"""Of all writes that are not shown, or remembered; nobody changes it."""

W = TypeVar("W", bound=PendingWrite)


class PendingWrites(Generic[W]):
    """The numbered writes of one peer; remembers `keep` accepted ones of `keep_bytes` in all."""

    def __init__(self, keep: int, keep_bytes: int = 1 << 26) -> None:
        self.pending: dict[int, W] = {}
        self.pending_bytes = 0
        # Of those that bring values from one place to another; completed ones may be among them.
        self.bringing: set[int] = set()
        self.keep = keep
        self._keep_bytes = keep_bytes
        self._recent: deque[W] = deque()
        self._recent_bytes = 0
        self._forgotten: deque[int] = deque(maxlen=min(keep, _MAX_FORGOTTEN))  # accepted numbers
        self._next = 1
        self.first_unknown = 1
        """Every lower number had a known outcome at some time."""
        # Attributes, because other threads read them without a lock.
        self.first_open = 1
        """The lowest number without an outcome."""

    @property
    def next_number(self) -> int:
        """The number of the next write.

        It is above every number that was given, also by an `add` that was interrupted: that write
        is pending then, and may be decided by now.
        """
        return max(self._next, next(reversed(self.pending), 0) + 1, self.first_unknown)

    def add(self, write: W) -> None:
        """Add a write that carries `next_number`."""
        number = write.number
        assert number >= self._next
        pending = self.pending
        if places_filled(write.proposal.body):
            self.bringing.add(number)
        pending[number] = write
        self.pending_bytes += write.size
        self._next = number + 1
        if self.first_open not in pending:
            self._find_first_open()

    def complete(self, number: int, *, made_entry: bool) -> W | None:
        """Take out a write whose outcome is known; None when it was known before.

        Only a write that made an entry is remembered: the others have nothing to send again.
        """
        write = self.pending.get(number)
        if write is None:
            return None
        # First, because after an interrupt a missing number must not look like a gap.
        self.first_unknown = max(self.first_unknown, number + 1)
        self.pending.pop(number, None)
        self.bringing.discard(number)
        # An interrupt between these lines must not leave a wrong sum for ever.
        self.pending_bytes = self.pending_bytes - write.size if self.pending else 0
        if number == self.first_open and number + 1 in self.pending:
            self.first_open = number + 1
        else:
            self._find_first_open()
        if made_entry:
            self._remember(write)
        return write

    def _remember(self, write: W) -> None:
        write.pack()
        self._recent.append(write)
        self._recent_bytes += write.size + _RECORD_BYTES
        while len(self._recent) > self.keep or self._recent_bytes > self._keep_bytes:
            oldest = self._recent.popleft()
            self._recent_bytes -= oldest.size + _RECORD_BYTES
            self._forgotten.append(oldest.number)

    def recall(self, last: int) -> int:
        """Make accepted writes above `last`, which a new host lacks, pending again.

        Returns the number of lost writes: the host lacks them and they are no longer remembered.
        The count stops at `keep`, and at 10,000.
        """
        lacking = [write for write in self._recent if write.number > last]
        if not lacking:
            return 0
        self._recent = deque(write for write in self._recent if write.number <= last)
        self._recent_bytes = sum(write.size + _RECORD_BYTES for write in self._recent)
        waiting = [*lacking, *self.pending.values()]
        self.pending = {
            write.number: write for write in sorted(waiting, key=lambda write: write.number)
        }
        self.pending_bytes = sum(write.size for write in waiting)
        self._find_first_open()
        for write in self.pending.values():  # the recalled writes have no outcome any more
            proposal = write.unpack()
            if places_filled(proposal.body):
                self.bringing.add(write.number)
            proposal.acked_below = min(proposal.acked_below, self.first_open)
        lost = sum(number > last for number in self._forgotten)
        self._forgotten.clear()
        return lost

    def forget_accepted(self) -> int:
        """Forget the accepted writes: their cluster gave way, and none is sent again.

        Returns the number of acknowledged writes that are lost; the count stops as in `recall`.
        """
        lost = len(self._forgotten) + sum(write.done for write in self._recent)
        self._recent.clear()
        self._recent_bytes = 0
        self._forgotten.clear()
        return lost

    def reset_base(self) -> None:
        """Reset the base version of pending writes: the object that they saw was replaced."""
        for write in self.pending.values():
            proposal = write.unpack()
            proposal.epoch = proposal.version = 0

    def after(self, last: int) -> list[W]:
        """The pending writes above `last`, in the order of their numbers."""
        return [write for number, write in self.pending.items() if number > last]

    def first_after(self, last: int) -> int | None:
        """The lowest pending number above `last`, if there is one.

        Numbers have few gaps, so the writes below are seldom passed over one by one.
        """
        pending = self.pending
        if last + 1 in pending:
            return last + 1
        if next(reversed(pending), 0) <= last:
            return None
        return next(number for number in pending if number > last)

    def _find_first_open(self) -> None:
        self.first_open = next(iter(self.pending), 0) or max(self._next, self.first_unknown)
