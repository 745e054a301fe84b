"""The window of writes under way: its bound, and who waits for room."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from memsync.errors import NotStartedError, QueueFullError
from memsync.replication.entries import Propose
from memsync.replication.pending import PendingWrites
from memsync.runtime.awaited_write import AwaitedWrite
from memsync.runtime.window import Window
from memsync.testing import PATIENCE, until


class Writes:
    """A window of a size, and the writes in it."""

    def __init__(self, size: int) -> None:
        self.guard = threading.RLock()
        self.pending: PendingWrites[AwaitedWrite] = PendingWrites(keep=100)
        uplink: Any = self
        self.window = Window(self.guard, size, self.pending, lambda: uplink)
        self.kicks = 0

    def kick(self) -> None:
        self.kicks += 1

    def write(self, seconds: float = 0) -> AwaitedWrite:
        """One more write; waits for room for `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            with self.guard:
                turn = self.window.turn(deadline)
                if turn is None:
                    number = self.pending.next_number
                    write = AwaitedWrite(Propose(number, 1, 0, 1, 1, "patch", {}), 0, None, b"")
                    self.pending.add(write)
                    self.window.add(write)
                    return write
            turn.wait(deadline - time.monotonic())

    def close(self, *writes: AwaitedWrite) -> None:
        for write in writes:
            self.pending.complete(write.number, made_entry=True)
        self.window.close(writes)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 16])
def test_as_many_writes_fit_as_the_window_has_places(size: int) -> None:
    writes = Writes(size)
    made = [writes.write() for _ in range(size)]
    with pytest.raises(QueueFullError, match=f"^{size} writes are under way"):
        writes.write()
    assert (writes.window.pending, writes.kicks) == (size, 1)
    writes.close(made[0])
    writes.write()
    with pytest.raises(QueueFullError):
        writes.write(0.01)


def test_a_waiting_thread_goes_on_when_a_quarter_is_free() -> None:
    writes = Writes(8)
    made = [writes.write() for _ in range(8)]
    waiting = threading.Thread(target=writes.write, args=(PATIENCE,))
    waiting.start()
    try:
        until(lambda: writes.kicks == 1)
        writes.close(made[0])
        assert writes.window.pending == 7
        writes.close(made[1])
        waiting.join(PATIENCE)
        assert writes.window.pending == 7
    finally:
        waiting.join(PATIENCE)


def test_room_at_the_deadline_is_enough() -> None:
    writes = Writes(8)
    made = [writes.write() for _ in range(8)]
    found: list[AwaitedWrite] = []
    waiting = threading.Thread(target=lambda: found.append(writes.write(0.2)))
    waiting.start()
    until(lambda: writes.kicks == 1)
    writes.close(made[0])
    waiting.join(PATIENCE)
    assert len(found) == 1


def test_accepted_writes_that_are_pending_again_take_places() -> None:
    writes = Writes(4)
    made = [writes.write() for _ in range(2)]
    writes.close(*made)
    writes.write()
    assert writes.pending.recall(0) == 0
    writes.window.recount()
    writes.write()
    with pytest.raises(QueueFullError):
        writes.write()


def test_the_end_wakes_and_refuses() -> None:
    writes = Writes(1)
    made = writes.write()
    errors: list[BaseException] = []

    def wait() -> None:
        with pytest.raises(NotStartedError) as caught:
            writes.write(PATIENCE)
        errors.append(caught.value)

    waiting = threading.Thread(target=wait)
    waiting.start()
    until(lambda: writes.kicks == 1)
    assert writes.window.end() == [made] == writes.window.open_writes()
    waiting.join(PATIENCE)
    assert len(errors) == 1
    with pytest.raises(NotStartedError):
        writes.write()
