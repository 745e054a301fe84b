"""Kills of hosts that save all the time: after each the file loads, and no flush is missing."""

from __future__ import annotations

import os
import random
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from memsync import MemSync
from memsync.errors import StorageError
from memsync.storage.snapshot_file import SavedObject, parse

NAME = "killed"
FIELDS = 400  # with them a save has some slices, and takes some milliseconds
START_PATIENCE = 30.0  # seconds


class Round(NamedTuple):
    """What a file must hold after a kill."""

    pair: tuple[int, int]
    n: int


def run(rounds: int, seed: int, folder: Path) -> tuple[str, list[str]]:
    """Kill as often; returns a line of figures, and what was wrong.

    In each fourth round a second process lives on, saves as the next host, and is killed later.
    """
    rng, path = random.Random(seed), folder / "state.json"
    wrong: list[str] = []
    before, flushes, torn, took_over = Round((0, 0), -1), 0, 0, 0
    with MemSync("imported", {}, {"file": {"path": folder / "other.json"}}) as mem:
        mem.flush()  # the children find all modules imported
    for number in range(rounds):
        children = [Child(save_for_ever, path)]
        if number % 4 == 3:
            children.append(Child(follow, path))
        for child in children:
            child.wait_until_ready()
        while children:
            time.sleep(rng.uniform(0.0, 0.04))
            acknowledged = children.pop(0).kill()
            flushes += len(acknowledged)
            torn += any(name.endswith(".tmp") for name in os.listdir(folder))
            after, error = look(path)
            known = max([before, *acknowledged], key=lambda each: each.pair)
            if error is not None:
                wrong.append(f"round {number}: {error}")
            elif after.pair < known.pair or after.n < known.n:
                wrong.append(f"round {number}: the file has {after}, known was {known}")
            before = after
            if children:
                took_over += 1
                children[0].wait_for_flush()
    return (
        f"{rounds} rounds, {rounds + took_over} kills, {torn} in the middle of a save, {took_over} "
        f"hosts that went on, {flushes} flushes, {len(wrong)} wrong"
    ), wrong


def look(path: Path) -> tuple[Round, str | None]:
    """What is in the file."""
    try:
        saved: SavedObject = parse(path.read_bytes(), str(path))
    except FileNotFoundError:
        return Round((0, 0), -1), None
    except StorageError as error:
        return Round((0, 0), -1), str(error)
    assert saved.data is not None
    return Round(saved.pair, saved.data["n"]), None


class Child:
    """A forked process that tells on a pipe what is certain to be saved."""

    def __init__(self, work: Callable[[Path, int], NoReturn], path: Path) -> None:
        self._reader, writer = os.pipe()
        self._text = b""
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self._reader)
                work(path, writer)
            finally:
                os._exit(1)
        os.close(writer)

    def wait_until_ready(self) -> None:
        self._wait_for(b"ready\n")

    def wait_for_flush(self) -> None:
        """Wait for one more flush."""
        self._text = self._text.rpartition(b"\n")[2]
        self._wait_for(b" end\n")

    def _wait_for(self, what: bytes) -> None:
        deadline = time.monotonic() + START_PATIENCE
        while what not in self._text:
            ready = select.select([self._reader], [], [], max(deadline - time.monotonic(), 0))[0]
            piece = os.read(self._reader, 65536) if ready else b""
            if not piece:
                raise AssertionError(f"process {self.pid} did not say {what!r}: {self._text!r}")
            self._text += piece

    def kill(self) -> list[Round]:
        """Kill it; returns what it has flushed since it was last asked."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        with open(self._reader, "rb") as rest:
            text = self._text + rest.read()
        rows = [line.split() for line in text.splitlines() if line.endswith(b" end")]
        return [Round((int(row[0]), int(row[1])), int(row[2])) for row in rows]


def save_for_ever(path: Path, writer: int) -> NoReturn:
    """Change the object and flush it, and tell which version was flushed."""
    with MemSync(NAME, {"n": 0}, {"file": {"path": path, "debounce": 0}}) as mem:
        mem.patch({"$set": {f"field{number}": "x" * 400 for number in range(FIELDS)}})
        os.write(writer, b"ready\n")
        write_and_flush(mem, writer)


def follow(path: Path, writer: int) -> NoReturn:
    """Do the same beside the host, and go on as the next one."""
    time.sleep(0.02)  # the other one hosts
    with MemSync(NAME, {"n": 0}, {"file": {"path": path, "debounce": 0}}) as mem:
        os.write(writer, b"ready\n")
        write_and_flush(mem, writer)


def write_and_flush(mem: MemSync[Any], writer: int) -> NoReturn:
    while True:
        version = mem.patch({"$inc": {"n": 1}}, timeout=20)
        epoch, n = mem.epoch, mem.data["n"]
        mem.flush(timeout=20)
        # The epoch may have changed since; an older one says less, which is still true.
        os.write(writer, f"{epoch if version else 0} {version} {n} end\n".encode())
