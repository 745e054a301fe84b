"""The recent entries in memory, and where each epoch began.

The log starts at a base, the pair ``(epoch, version)`` of the state that it grew from, and holds
the entries above it without gaps. A pair is *held* if the history of the log contains it. Only a
peer at a held pair can catch up by entries: a version alone does not identify an entry, because a
deposed host may have used the same version for another one.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from .entries import Entry


class Log:
    """Entries above a base, bounded by their number and by the bytes of their frames."""

    def __init__(self, epoch: int, version: int, *, max_entries: int, max_bytes: int) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.reset(epoch, version)

    def reset(self, epoch: int, version: int) -> None:
        """Drop all entries and start at the given pair."""
        self.base_version = version
        self._entries: deque[tuple[Entry, int]] = deque()
        self._bytes = 0
        self._epochs: deque[tuple[int, int]] = deque([(epoch, version)])  # (epoch, first version)

    @property
    def version(self) -> int:
        """The version of the newest entry, or the base's."""
        return self.base_version + len(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, entry: Entry, size: int) -> None:
        """Add the next entry, of `size` bytes on the wire; drops the oldest over a limit."""
        assert entry.version == self.version + 1, (entry.version, self.version)
        if entry.epoch != self._epochs[-1][0]:
            self._epochs.append((entry.epoch, entry.version))
        self._entries.append((entry, size))
        self._bytes += size
        while len(self._entries) > self.max_entries or self._bytes > self.max_bytes:
            self._drop_oldest()

    def epoch_at(self, version: int) -> int | None:
        """The epoch of the entry (or base) at a version; None when it is not held."""
        if not self.base_version <= version <= self.version:
            return None
        return next(epoch for epoch, first in reversed(self._epochs) if first <= version)

    def since(self, epoch: int, version: int) -> list[Entry] | None:
        """The entries above a pair; None when the pair is not held."""
        if self.epoch_at(version) != epoch:
            return None
        return self.newest(version, len(self._entries))

    def size_since(self, version: int) -> int:
        """The bytes on the wire of the held entries above a version."""
        skipped = max(version - self.base_version, 0)
        return sum(size for _, size in islice(self._entries, skipped, None))

    def newest(self, version: int, count: int) -> list[Entry]:
        """The held entries above a version, at most the newest `count`."""
        first = max(version, self.version - count, self.base_version) - self.base_version
        return [entry for entry, _ in islice(self._entries, first, None)]

    def _drop_oldest(self) -> None:
        entry, size = self._entries.popleft()
        self._bytes -= size
        self.base_version = entry.version
        while len(self._epochs) > 1 and self._epochs[1][1] <= entry.version:
            self._epochs.popleft()
