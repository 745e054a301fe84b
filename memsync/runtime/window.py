"""The window: the writes of one peer that are under way, and the threads that wait for room.

A thread that found the window full waits until a quarter of the writes are done. Waking it for each
single one would switch threads for each write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

from ..clocks import monotonic
from ..engine import Uplink
from ..errors import NotStartedError, QueueFullError
from ..replication.pending import PendingWrites
from .awaited_write import AwaitedWrite
from .wakeup import Wakeup

_size = attrgetter("size")

DECODED = 16
"""What a write under way takes for each byte of its frame: it is kept decoded, and compiled."""


class Window:
    """At most `size` writes without an outcome; all methods but `pending` take the guard.

    They take about `max_bytes` of memory at most, or are a single one.
    """

    def __init__(
        self,
        guard: Any,
        size: int,
        max_bytes: int,
        writes: PendingWrites[AwaitedWrite],
        uplink: Callable[[], Uplink | None],
    ) -> None:
        self.ended = False
        self._guard = guard
        self._size = size
        self._max_frames = max_bytes // DECODED  # bytes of the frames of all
        self._writes = writes
        self._uplink = uplink
        self._open: dict[int, AwaitedWrite] = {}  # no outcome was reported to the caller
        self._turns: list[Wakeup] = []  # of the threads that wait for room
        # Places and bytes that are free for certain; counting them costs a set.
        self._free = self._free_bytes = 0
        self._enough = 0  # open writes, when waiting threads go on

    @property
    def pending(self) -> int:
        """The number of writes without an outcome; needs no guard, each copy is one step."""
        return len({*self._open, *self._writes.pending})

    def add(self, write: AwaitedWrite) -> None:
        """A write is under way, for which `turn` has found room; the guard is held."""
        self._free -= 1
        self._free_bytes -= write.size
        self._open[write.number] = write

    def turn(self, deadline: float) -> Wakeup | None:
        """None when there is a free place; otherwise what to wait for, and to call this again.

        The guard is held, but not while the caller waits. Has the uplink send what is queued.
        Raises `QueueFullError` after the deadline (monotonic seconds), and `NotStartedError` when
        the peer has stopped.
        """
        if self.ended:
            raise NotStartedError("this peer has stopped: call start() again")
        if self._free > 0 and self._free_bytes > 0:
            return None
        if self._has_room():
            return None
        uplink = self._uplink()
        if uplink is not None:
            uplink.kick()
            if self._has_room():
                return None
        if deadline <= monotonic():
            full = f"{self._size} writes" if self._free <= 0 else "too many bytes of writes"
            limit = "network.window" if self._free <= 0 else "network.maxLogBytes"
            raise QueueFullError(
                f"{full} are under way or wait for their write concern ({limit}), and none was "
                "acknowledged in time"
            )
        turn = Wakeup()
        self._turns.append(turn)
        return turn

    def _has_room(self) -> bool:
        """Count the places and bytes that are free."""
        writes = {**self._open, **self._writes.pending}
        self._free = self._size - len(writes)
        self._enough = len(writes) - max(len(writes) // 4, 1)
        self._free_bytes = self._max_frames - sum(map(_size, writes.values()))
        return self._free > 0 and (self._free_bytes > 0 or not writes)

    def _wake(self) -> None:
        for turn in self._turns:
            turn.set()
        self._turns = []

    def recount(self) -> None:
        """Accepted writes may be pending again; the guard is held."""
        self._free = 0

    def close(self, writes: Iterable[AwaitedWrite]) -> None:
        """Take out writes that have their outcome."""
        with self._guard:
            for write in writes:
                self._open.pop(write.number, None)
            if self._turns and len(self._open) <= self._enough:
                self._wake()

    def open_writes(self) -> list[AwaitedWrite]:
        """The writes whose outcome was not reported yet."""
        with self._guard:
            return list(self._open.values())

    def end(self) -> list[AwaitedWrite]:
        """The peer has stopped: refuse new writes; returns the open ones."""
        with self._guard:
            self.ended = True
            self._wake()
            return list(self._open.values())
