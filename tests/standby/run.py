"""Kill, freeze and stop the writer again and again; what its standbys do is judged afterwards.

Of four processes one writes, and the others stand by. The notes of all say who was active when.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import tempfile
import time
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from memsync import MemSync
from memsync.testing import until

from .worker import NAME, work

PROCESSES = 4
FREEZE = 1.3  # seconds, longer than the lease: a frozen writer that hosts is deposed


class Note(NamedTuple):
    """One line of a worker."""

    word: str
    pid: int
    at: float  # monotonic seconds
    more: str


class End(NamedTuple):
    """The end of a writer's time, as this process has caused it."""

    pid: int
    kind: str  # kill, stop, or "kill after freeze"
    at: float  # monotonic seconds, before the signal
    was_host: bool


class Verdict(NamedTuple):
    """What the run has shown."""

    ends: int
    takeovers: dict[str, list[float]]  # seconds from an end to the next writer, by kind
    violations: list[str]
    writes: int

    def __str__(self) -> str:
        lines = [f"{self.ends} ends of a writer, {self.writes} acknowledged writes"]
        for kind, seconds in sorted(self.takeovers.items()):
            median, most = statistics.median(seconds) * 1000, max(seconds) * 1000
            lines.append(f"{kind}: {len(seconds)}, median {median:.1f} ms, maximum {most:.1f} ms")
        lines += self.violations or ["never two writers, and no acknowledged write was lost"]
        return "\n".join(lines)


class Run:
    """A group of workers in a folder of its own."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._notes = folder / "notes"
        self._chance = random.Random(seed)
        self._context = get_context("forkserver")
        self._workers: dict[int, Any] = {}
        self._ends: list[End] = []

    def go(self, ends: int) -> Verdict:
        """End the writer so often, and judge."""
        root = self._folder / "memsync"
        previous = os.environ.get("MEMSYNC_DIR")
        os.environ["MEMSYNC_DIR"] = str(root)
        try:
            for _ in range(PROCESSES):
                self._start(root)
            observer: MemSync[Any] = MemSync(NAME, options={"peer": {"roles": []}})
            self._writer()
            with observer:
                for _ in range(ends):
                    self._end_writer(observer)
                    self._start(root)
                self._writer()
                n = self._stop_all(observer)
        finally:
            for process in self._workers.values():
                process.kill()
                process.join()
            os.environ.pop("MEMSYNC_DIR")
            if previous is not None:
                os.environ["MEMSYNC_DIR"] = previous
        return self._judge(n)

    def _start(self, root: Path) -> None:
        process = self._context.Process(target=work, args=(str(self._notes), str(root)))
        process.start()
        pid = process.pid
        assert pid is not None
        self._workers[pid] = process
        until(lambda: any(n.word == "waits" and n.pid == pid for n in self._read()))

    def _read(self) -> list[Note]:
        if not self._notes.exists():
            return []
        notes = []
        for line in self._notes.read_text().splitlines():
            word, pid, at, *more = line.split()
            notes.append(Note(word, int(pid), int(at) / 1e9, *(more or [""])))
        return notes

    def _writer(self) -> int:
        """The process that writes, once there is one."""
        ended = {end.pid for end in self._ends}

        def found() -> list[int]:
            return [n.pid for n in self._read() if n.word == "wrote" and n.pid not in ended][-1:]

        return until(found, 20)[0]

    def _end_writer(self, observer: MemSync[Any]) -> None:
        pid = self._writer()
        time.sleep(self._chance.uniform(0, 0.05))
        kind = self._chance.choices(["kill", "stop", "freeze"], [8, 3, 1])[0]
        host = observer.get_status()["host"]
        was_host = host is not None and host["pid"] == pid
        if kind == "freeze":
            os.kill(pid, signal.SIGSTOP)
            time.sleep(FREEZE)  # in which the place must stay taken
            kind = "kill after freeze"
        at = time.monotonic()
        os.kill(pid, signal.SIGTERM if kind == "stop" else signal.SIGKILL)
        self._ends.append(End(pid, kind, at, was_host))
        self._writer()
        self._workers.pop(pid).join()

    def _stop_all(self, observer: MemSync[Any]) -> int:
        """Stop the standbys first, then the writer; returns the final count."""
        writer = self._writer()
        for pid, process in sorted(self._workers.items(), key=lambda item: item[0] == writer):
            os.kill(pid, signal.SIGTERM)
            process.join()
        until(lambda: not observer.has_peers())
        n: int = observer.snapshot("n")
        return n

    def _judge(self, n: int) -> Verdict:
        notes = self._read()
        begun = {note.pid: note for note in notes if note.word == "begins"}
        order = sorted(begun.values(), key=lambda note: note.at)
        ends = {end.pid: end for end in self._ends}
        last = {note.pid: note for note in notes}  # of a planned stop: "ends"
        violations: list[str] = []
        takeovers: dict[str, list[float]] = {}
        for before, after in pairwise(order):
            end = ends.get(before.pid)
            is_stop = end is not None and end.kind == "stop"
            over = last[before.pid].at if end is None or is_stop else end.at
            if after.at < over:
                violations.append(f"{after.pid} began {over - after.at:.6f} s before the last end")
            if last[before.pid].at > after.at:
                violations.append(f"{before.pid} was active after {after.pid} began")
            if end is not None:
                kind = f"{end.kind} of {'the host' if end.was_host else 'a client'}"
                takeovers.setdefault(kind, []).append(after.at - end.at)
        writes = sum(note.word == "wrote" for note in notes)
        if not writes <= n <= writes + len(self._ends) + 1:
            violations.append(f"{writes} acknowledged writes and {len(ends)} ends made {n}")
        return Verdict(len(self._ends), takeovers, violations, writes)


def run(ends: int, seed: int = 0) -> Verdict:
    """End the writer so often; raises `AssertionError` when nobody takes over in 20 seconds."""
    with tempfile.TemporaryDirectory(prefix="memsync-standby-") as folder:
        return Run(Path(folder), seed).go(ends)
