"""The recent entries in memory, and where each epoch began.

The log starts at a base, the pair ``(epoch, version)`` of the state that it grew from, and holds
the entries above it without gaps. A pair is *held* if the history of the log contains it. Only a
peer at a held pair can catch up by entries: a version alone does not identify an entry, because a
deposed host may have used the same version for another one.

An entry is kept as the bytes that carried it. They are sent again as they are, take a tenth of the
memory of the decoded entry, and give the garbage collector nothing to visit. Beside it is kept what
it has replaced (see `document.live.old_values`), within the same limits, so that older versions can
be restored.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any

from ..document import LIGHT, SCALAR_TYPES, OldValues, memory_of
from ..errors import ProtocolError
from .codec import decode, decode_entry, frame_of
from .entries import Entry, History


class Log:
    """Encoded entries above a base, bounded by their number and by their bytes."""

    def __init__(self, epoch: int, version: int, *, max_entries: int, max_bytes: int) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.olds = OldValues()
        """What the entry to be appended next has replaced."""
        self._order_every = max(min(1024, max_entries // 4), 1)  # entries
        self.reset(epoch, version)

    def reset(self, epoch: int, version: int) -> None:
        """Drop all entries and start at the given pair."""
        self.version = version  # of the newest entry, or the base's
        self._bodies: deque[bytes] = deque()
        self._bytes = 0
        self._order_next = version
        self._forget_old_values()
        self._epochs: deque[tuple[int, int]] = deque([(epoch, version)])  # (epoch, first version)

    def copy(self) -> Log:
        """A log with the same entries, which goes its own way."""
        copy = Log(0, 0, max_entries=self.max_entries, max_bytes=self.max_bytes)
        copy.version, copy._bytes = self.version, self._bytes
        copy._bodies, copy._epochs = self._bodies.copy(), self._epochs.copy()
        return copy

    @property
    def base_version(self) -> int:
        """The version below the oldest entry."""
        return self.version - len(self._bodies)

    def __len__(self) -> int:
        return len(self._bodies)

    def append(self, entry: Entry, body: bytes) -> None:
        """Add the next entry, encoded as `body`; drops the oldest over a limit."""
        version = self.version + 1
        assert entry.version == version, (entry.version, self.version)
        if entry.epoch != self._epochs[-1][0]:
            self._epochs.append((entry.epoch, version))
        bodies = self._bodies
        bodies.append(body)
        self.version = version
        self._bytes += len(body)
        olds = self.olds
        if not olds:
            self._taken.append(())
        elif len(olds) == 1 and type(olds[0]) in SCALAR_TYPES:
            old = olds.pop()
            self._taken.append(old)
            if type(old) is str:
                self._old_bytes += len(old)
                if self._old_bytes > self.max_bytes:
                    self._drop_old_values()
        else:
            self._take_all()
        if len(bodies) > self.max_entries or self._bytes > self.max_bytes:
            self._drop_oldest()

    def epoch_at(self, version: int) -> int | None:
        """The epoch of the entry (or base) at a version; None when it is not held."""
        if not self.base_version <= version <= self.version:
            return None
        return next(epoch for epoch, first in reversed(self._epochs) if first <= version)

    def since(self, epoch: int, version: int) -> list[bytes] | None:
        """The frames of the entries above a pair; None when the pair is not held."""
        if self.epoch_at(version) != epoch:
            return None
        return [frame_of(body) for body in self._above(version)]

    def next_above(self, epoch: int, version: int, max_bytes: int) -> list[bytes] | None:
        """The encoded entries above a pair, the oldest first; None when the pair is not held.

        At most `max_bytes`, but at least one if there is one.
        """
        if self.epoch_at(version) != epoch:
            return None
        found: list[bytes] = []
        left = max_bytes
        for body in self._above(version):
            left -= len(body)
            if left < 0 and found:
                break
            found.append(body)
        return found

    def containing(self, text: bytes) -> list[bytes]:
        """The encoded entries that contain some bytes."""
        return [body for body in self._bodies if text in body]

    def history(self, version: int) -> History | None:
        """The held entries above a version; None without any."""
        version = max(version, self.base_version)
        bodies = list(self._above(version))
        epoch = self.epoch_at(version)
        return History(epoch, version, bodies) if bodies and epoch is not None else None

    def adopt(self, history: History | None) -> None:
        """Hold the entries that lead to the base of this empty log, if there are any.

        Raises `ProtocolError`, and changes nothing, when they do not lead there.
        """
        if history is None:
            return
        base = self._epochs[-1][0], self.version
        epoch, version, entries = history.epoch, history.version, []
        for body in history.bodies:
            entry = decode(body)
            if not isinstance(entry, Entry):
                raise ProtocolError(f"{type(entry).__name__} is no entry of a history")
            if entry.version != version + 1 or entry.epoch < epoch:
                raise ProtocolError(f"a history breaks off after ({epoch}, {version})")
            epoch, version = entry.epoch, entry.version
            entries.append(entry)
        if (epoch, version) != base:
            raise ProtocolError(f"a history ends at ({epoch}, {version}), the snapshot at {base}")
        self.reset(history.epoch, history.version)
        for entry, body in zip(entries, history.bodies, strict=True):
            self.append(entry, body)
        self._forget_old_values()

    def size_since(self, version: int) -> int:
        """The bytes of the held entries above a version."""
        return sum(map(len, self._above(version)))

    def size_of_newest(self, count: int) -> int:
        """The bytes of the newest `count` entries."""
        return sum(map(len, islice(reversed(self._bodies), count)))

    def newest(self, version: int, count: int, max_bytes: int) -> list[Entry]:
        """The held entries above a version, at most the newest `count` of `max_bytes` in all.

        The newest one is always among them.
        """
        found: list[Entry] = []
        left = max_bytes
        for body in islice(reversed(self._bodies), min(max(self.version - version, 0), count)):
            left -= len(body)
            if left < 0 and found:
                break
            found.append(decode_entry(body))
        return found[::-1]

    def held_above(self, version: int) -> tuple[int, list[Entry]]:
        """The version below the oldest held entry, and the held entries above `version`.

        Both are of one moment, and any thread may call it.
        """
        bodies = list(self._bodies.copy())  # one step in C
        base = decode_entry(bodies[-1]).version - len(bodies) if bodies else self.version
        return base, [decode_entry(body) for body in bodies[max(version - base, 0) :]]

    def past(self) -> tuple[list[bytes], list[Any]]:
        """The newest entries, encoded, and what they have replaced; the guard is held."""
        taken = list(self._taken)
        bodies = list(self._bodies)
        return bodies[len(bodies) - len(taken) :], taken

    def _forget_old_values(self) -> None:
        self._taken: deque[Any] = deque()  # of the newest entries
        self._old_bytes = 0
        self.olds.clear()
        self.olds.order_anew()

    def _take_all(self) -> None:
        """Keep the old values of the entry that is appended."""
        taken = self.olds.take()
        self._taken.append(taken)
        self._old_bytes += memory_of(taken)
        if self._old_bytes > self.max_bytes:
            self._drop_old_values()
        if self.version >= self._order_next:
            self.olds.order_anew()
            self._order_next = self.version + self._order_every

    def _drop_old_values(self) -> None:
        while self._old_bytes > self.max_bytes:
            self._old_bytes -= memory_of(self._taken.popleft())

    def _above(self, version: int) -> islice[bytes]:
        return islice(self._bodies, max(version - self.base_version, 0), None)

    def _drop_oldest(self) -> None:
        bodies, epochs = self._bodies, self._epochs
        while len(bodies) > self.max_entries or self._bytes > self.max_bytes:
            self._bytes -= len(bodies.popleft())
            if len(self._taken) > len(bodies):
                taken = self._taken.popleft()
                if type(taken) not in LIGHT:
                    self._old_bytes -= memory_of(taken)
        while len(epochs) > 1 and epochs[1][1] <= self.base_version:
            epochs.popleft()
