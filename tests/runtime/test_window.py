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
from memsync.runtime.window import DECODED, Window
from memsync.testing import PATIENCE, until


class Writes:
    """A window of a size, and the writes in it."""

    def __init__(self, size: int, max_bytes: int = 1 << 20) -> None:
        self.guard = threading.RLock()
        self.pending: PendingWrites[AwaitedWrite] = PendingWrites(keep=100)
        uplink: Any = self
        self.window = Window(self.guard, size, max_bytes, self.pending, lambda: uplink)
        self.kicks = 0

    def kick(self) -> None:
        self.kicks += 1

    def write(self, seconds: float = 0, frame: bytes = b"") -> AwaitedWrite:
        """One more write with a frame; waits for room for `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            with self.guard:
                turn = self.window.turn(deadline)
                if turn is None:
                    number = self.pending.next_number
                    write = AwaitedWrite(Propose(number, 1, 0, 1, 1, "patch", {}), 0, None, frame)
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
    turn = writes.window.turn(time.monotonic() + PATIENCE)
    assert turn is not None
    writes.close(made[0])
    assert not turn.wait(0)  # too little room to wake a thread for it
    assert writes.window.turn(time.monotonic()) is None


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


def test_the_bytes_of_the_writes_are_limited_too() -> None:
    writes = Writes(1000, max_bytes=DECODED * 1000)
    made = [writes.write(frame=bytes(300)) for _ in range(4)]  # the last one goes over the limit
    with pytest.raises(QueueFullError, match=r"bytes of writes .*maxLogBytes"):
        writes.write(frame=bytes(1))
    writes.close(made[0])
    writes.write(frame=bytes(50))
    writes.write(frame=bytes(60))
    with pytest.raises(QueueFullError):
        writes.write(0.01)
    writes.close(*made[1:])
    writes.write(frame=bytes(5000))
    with pytest.raises(QueueFullError):
        writes.write(frame=bytes(1))


@pytest.mark.parametrize("max_bytes", [0, 1, DECODED, DECODED * 1000])
def test_a_write_that_is_larger_than_the_limit_goes_alone(max_bytes: int) -> None:
    writes = Writes(1000, max_bytes=max_bytes)
    for _ in range(3):
        made = writes.write(frame=bytes(100_000))
        with pytest.raises(QueueFullError):
            writes.write(frame=bytes(100_000))
        writes.close(made)


def test_a_thread_that_waits_for_bytes_goes_on_when_there_are_some() -> None:
    writes = Writes(8, max_bytes=DECODED * 1000)
    made = [writes.write(frame=bytes(600)) for _ in range(2)]
    waiting = threading.Thread(target=writes.write, args=(2 * PATIENCE,))
    waiting.start()
    try:
        until(lambda: writes.kicks == 1)
        writes.close(made[1])
        waiting.join(PATIENCE)
        assert not waiting.is_alive()
        assert writes.window.pending == 2
    finally:
        writes.close(made[0])
        waiting.join(PATIENCE)


def test_a_thread_that_waits_for_bytes_is_woken_when_a_quarter_is_done() -> None:
    writes = Writes(100, max_bytes=DECODED * 1000)
    made = [writes.write(frame=bytes(100)) for _ in range(10)]
    waiting = threading.Thread(target=writes.write, args=(PATIENCE,))
    waiting.start()
    try:
        until(lambda: writes.window._turns)
        for write in made[:2]:
            (turn,) = writes.window._turns
            assert not turn.wait(0)
            writes.close(write)
        assert not writes.window._turns
        waiting.join(PATIENCE)
        assert writes.window.pending == 9
    finally:
        writes.close(*made[2:])
        waiting.join(PATIENCE)
