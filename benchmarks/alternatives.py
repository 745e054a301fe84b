"""memsync beside Manager().dict(), diskcache and Redis: reads, writes, counters, a killed server.

Run: ``python benchmarks/alternatives.py [ROUNDS]``. Each alternative has a server process where it
needs one (for memsync: the host) and four more processes that use it. The rounds of all
alternatives are interleaved, so that a change of the machine's load meets all of them; the table
shows medians of the rounds. diskcache and Redis are left out where they are not installed
(``pip install diskcache redis``, and ``redis-server`` on the path). Redis listens on a Unix socket
and keeps nothing on disk.
"""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from multiprocessing import Manager, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from memsync import MemSync

ROUNDS = 7
READS, WRITES, INCREMENTS = 2000, 300, 200  # of one process in one round
WORKERS = 4
PATIENCE = 10.0  # seconds to wait for a write after the server was killed

context = get_context("spawn")


class Alternative:
    """One way to share a value; it is sent to the workers, which call `connect`."""

    name = ""
    server: int | None = None  # process number

    def start(self, folder: Path, stack: ExitStack) -> None:
        """Start what it needs; `stack` stops it."""

    def connect(self) -> None: ...

    def read(self) -> Any: ...

    def write(self, value: int) -> None: ...

    def increment(self) -> None: ...

    def counter(self) -> int:
        raise NotImplementedError


class SharedObject(Alternative):
    name = "memsync"

    def start(self, folder: Path, stack: ExitStack) -> None:
        os.environ["MEMSYNC_DIR"] = str(folder)
        ready, there = context.Pipe()
        process = context.Process(target=_host, args=(there,), daemon=True)
        process.start()
        stack.callback(process.kill)
        ready.recv()
        self.server = process.pid

    def connect(self) -> None:
        self._mem: MemSync[Any] = MemSync("alternatives")
        self._mem.start()

    def read(self) -> Any:
        return self._mem.data["value"]

    def write(self, value: int) -> None:
        self._mem.patch({"$set": {"value": value}})

    def increment(self) -> None:
        self._mem.patch({"$inc": {"n": 1}})

    def counter(self) -> int:
        return int(self._mem.data["n"])


def _host(there: Connection) -> None:
    with MemSync("alternatives", {"value": 0, "n": 0}):
        there.send(None)
        signal.pause()


class ManagerDict(Alternative):
    name = "Manager().dict()"

    def start(self, folder: Path, stack: ExitStack) -> None:
        manager = Manager()
        self._dict = manager.dict({"value": 0, "n": 0})
        self._lock = manager.Lock()  # `n += 1` is a read and a write
        process: Any = manager._process  # type: ignore[attr-defined]  # there is no public way
        self.server = process.pid
        stack.callback(process.kill)

    def read(self) -> Any:
        return self._dict["value"]

    def write(self, value: int) -> None:
        self._dict["value"] = value

    def increment(self) -> None:
        with self._lock:
            self._dict["n"] += 1

    def counter(self) -> int:
        return self._dict["n"]


class DiskCache(Alternative):
    name = "diskcache"

    def start(self, folder: Path, stack: ExitStack) -> None:
        self._folder = str(folder)
        self.connect()
        self.write(0)
        self._cache.set("n", 0)
        self._cache.close()
        del self._cache  # each process opens its own

    def connect(self) -> None:
        import diskcache  # type: ignore  # not a dependency, so installed or not, and without types

        self._cache = diskcache.Cache(self._folder)

    def read(self) -> Any:
        return self._cache["value"]

    def write(self, value: int) -> None:
        self._cache.set("value", value)

    def increment(self) -> None:
        self._cache.incr("n")

    def counter(self) -> int:
        return int(self._cache["n"])


class Redis(Alternative):
    name = "Redis"

    def start(self, folder: Path, stack: ExitStack) -> None:
        self._socket = str(folder / "redis.sock")
        command = ["redis-server", "--port", "0", "--unixsocket", self._socket]
        command += ["--save", "", "--appendonly", "no", "--dir", str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.kill)
        self.server = process.pid
        while not Path(self._socket).exists():
            time.sleep(0.01)

    def connect(self) -> None:
        import redis  # type: ignore[import-not-found, unused-ignore]

        self._client = redis.Redis(unix_socket_path=self._socket)

    def read(self) -> Any:
        return self._client.get("value")

    def write(self, value: int) -> None:
        self._client.set("value", value)

    def increment(self) -> None:
        self._client.incr("n")

    def counter(self) -> int:
        return int(self._client.get("n") or 0)


def _repeat(times: int, function: Callable[..., Any], *args: Any) -> float:
    """The mean time of a call, in microseconds."""
    begin = time.perf_counter()
    for _ in range(times):
        function(*args)
    return (time.perf_counter() - begin) / times * 1e6


def _write_until_it_works(alternative: Alternative) -> str:
    begin = time.perf_counter()
    error = ""
    while (seconds := time.perf_counter() - begin) < PATIENCE:
        try:
            alternative.increment()
        except Exception as raised:  # each alternative has errors of its own
            error = type(raised).__name__
            time.sleep(0.001)
        else:
            return f"goes on after {(time.perf_counter() - begin) * 1e3:.0f} ms"
    return f"{error} for {seconds:.0f} s, then given up"


def _work(alternative: Alternative, commands: Connection) -> None:
    """Run in each of the processes: do what the parent asks for."""
    alternative.connect()
    actions: dict[str, Callable[[], Any]] = {
        "read": lambda: _repeat(READS, alternative.read),
        "write": lambda: _repeat(WRITES, alternative.write, 1),
        "increments": lambda: _repeat(INCREMENTS, alternative.increment),
        "counter": alternative.counter,
        "killed": lambda: _write_until_it_works(alternative),
    }
    alternative.read()
    commands.send(None)
    while (action := commands.recv()) is not None:
        commands.send(actions[action]())


class Group:
    """The processes that use one alternative."""

    def __init__(self, alternative: Alternative, folder: Path, stack: ExitStack) -> None:
        self.alternative = alternative
        alternative.start(folder, stack)
        self._workers: list[Connection] = []
        for _ in range(WORKERS):
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(alternative, there), daemon=True)
            process.start()
            stack.callback(process.kill)
            here.recv()
            self._workers.append(here)
        self.times: dict[str, list[float]] = {"read": [], "write": [], "increments": []}

    def ask(self, action: str, workers: int = 1) -> list[Any]:
        """The answers of several processes that act at the same time."""
        for worker in self._workers[:workers]:
            worker.send(action)
        return [worker.recv() for worker in self._workers[:workers]]

    def round(self) -> None:
        self.times["read"] += self.ask("read")
        self.times["write"] += self.ask("write")
        before = self.ask("counter")[0]
        slowest = max(self.ask("increments", WORKERS))
        self.times["increments"].append(slowest / WORKERS)  # of one increment of the group
        lost = self.lost(before + WORKERS * INCREMENTS)
        if lost:
            raise SystemExit(f"{self.alternative.name}: {lost} increments are lost")

    def lost(self, expected: int) -> int:
        """How many increments the counter lacks; the last ones may still be on their way."""
        deadline = time.perf_counter() + 2
        while (lost := expected - int(self.ask("counter")[0])) and time.perf_counter() < deadline:
            time.sleep(0.01)
        return lost

    def kill(self) -> str:
        """Kill the server; what the next write meets, and whether anything is lost."""
        if self.alternative.server is None:
            return "no server to kill"
        before = self.ask("counter")[0]
        os.kill(self.alternative.server, signal.SIGKILL)
        (outcome,) = self.ask("killed")
        if outcome.startswith("goes on"):
            outcome += f", {self.lost(before + 1)} writes lost"
        return str(outcome)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    alternatives: list[Alternative] = [SharedObject(), ManagerDict()]
    if find_spec("diskcache"):
        alternatives.append(DiskCache())
    if find_spec("redis") and shutil.which("redis-server"):
        alternatives.append(Redis())
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ms-")))
        groups = []
        for number, alternative in enumerate(alternatives):
            folder = root / str(number)
            folder.mkdir(mode=0o700)
            groups.append(Group(alternative, folder, stack))
        for number in range(rounds + 1):
            for group in groups:
                group.round()
                if number == 0:  # it warms up
                    group.times = {action: [] for action in group.times}
        print("| | read | acknowledged write | increment, 4 writers | server killed |")
        print("| --- | --- | --- | --- | --- |")
        own = {action: statistics.median(times) for action, times in groups[0].times.items()}
        for group in groups:
            cells = []
            for action, times in group.times.items():
                median = statistics.median(times)
                ratio = median / own[action]
                cells.append(f"{median:.3g} µs ({ratio:.{0 if ratio >= 10 else 2}f}x)")
            print("|", group.alternative.name, "|", " | ".join(cells), "|", group.kill(), "|")


if __name__ == "__main__":
    main()
