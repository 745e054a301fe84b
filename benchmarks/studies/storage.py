"""What a save costs the writers, and what a start from a file takes.

Run: ``python -m benchmarks.studies.storage [--runs N] [--megabytes N] [--shape SHAPE]``. A group
starts from a file of that size. A client in a process of its own makes one acknowledged write after
the other, and so does a thread of the host, once while nothing is saved and once while one save
follows the other, in turn. Everything is of the file system that holds the temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memsync import MemSync
from memsync.testing import Cluster, Peer
from tests.chaos import leftovers

from .busy_host import quantile, write_for
from .fail_over import at_least

SECONDS = 6.0  # of a measurement without a save; with saves it lasts for some saves at least
SAVES = 3
LIMIT = 10.0  # milliseconds that a save may add to the 99th percentile


def records(size: int) -> dict[str, Any]:
    """Objects of some fields each, in an object."""
    fields = {f"field{n}": f"{n:040}" for n in range(15)}
    return {f"record{n:06}": {**fields, "number": n, "tags": [n, 1.5]} for n in range(size // 980)}


def flat(size: int) -> dict[str, Any]:
    """One object of strings."""
    return {f"key{n:08}": f"{n:080}" for n in range(size // 97)}


def numbers(size: int) -> dict[str, Any]:
    """One array of numbers."""
    return {"numbers": [n / 7 for n in range(size // 18)]}


SHAPES: dict[str, Callable[[int], dict[str, Any]]] = {
    "records": records,
    "flat": flat,
    "numbers": numbers,
}


def save_for(mem: MemSync[Any], least: float) -> list[float]:
    """Save again and again while others write; returns the seconds of each save."""
    took: list[float] = []
    begun = time.monotonic()
    while len(took) < SAVES or time.monotonic() < begun + least:
        began = time.monotonic()
        mem.flush(timeout=600)
        took.append(time.monotonic() - began)
    return took


def write_until(mem: MemSync[Any], path: str) -> list[float]:
    """Increment until a file is there; the milliseconds of each write."""
    took: list[float] = []
    while not os.path.exists(path):
        took += write_for(mem, 0.1)
    return took


def write_beside(mem: MemSync[Any], saves: bool) -> tuple[list[float], list[float]]:
    """The milliseconds of the writes of a thread of the host, and the seconds of the saves."""
    took: list[float] = []
    is_over = threading.Event()

    def write() -> None:
        while not is_over.is_set():
            took.extend(write_for(mem, 0.1))
            time.sleep(0.01)

    thread = threading.Thread(target=write)
    thread.start()
    seconds: list[float] = []
    if saves:
        seconds = save_for(mem, SECONDS)
    else:
        time.sleep(SECONDS)
    is_over.set()
    thread.join()
    return took, seconds


def measure(host: Peer, client: Peer, folder: Path, saves: bool, where: str) -> tuple[Any, Any]:
    """Writes of the client or of the host's process, with or without saves."""
    if where == "host":
        took, seconds = host.run(write_beside, saves)
        return sorted(took), seconds
    end = folder / "end"
    end.unlink(missing_ok=True)
    ticket = client.begin(write_until, str(end))
    if saves:
        seconds = host.result(host.begin(save_for, SECONDS), 600)
    else:
        time.sleep(SECONDS)
        seconds = []
    end.touch()
    return sorted(client.result(ticket, 60)), seconds


def line(what: str, took: list[float]) -> str:
    facts = [statistics.median(took), quantile(took, 0.99), took[-1]]
    return f"{what:34} {len(took):7} " + " ".join(f"{each:9.2f}" for each in facts)


def study(shape: str, size: int, runs: int, folder: Path) -> bool:
    """One shape; returns whether the limit is kept."""
    path = folder / f"{shape}.json"
    path.write_text(json.dumps({"data": {"n": 0, **SHAPES[shape](size)}}))
    print(f"{shape}: a file of {path.stat().st_size / 1e6:.1f} MB")
    worst: dict[str, list[float]] = {"client": [], "host": []}
    with Cluster() as cluster:
        options = {"file": {"path": str(path), "debounce": 3600}, "timeout": 600}
        host = cluster.peer({}, options)
        client = cluster.peer(None, {"clientOnly": True, "timeout": 600})
        host.run(save_for, 0)
        print(f"{'milliseconds':34} {'writes':>7} {'median':>9} {'p99':>9} {'worst':>9}")
        for number in range(runs):
            for where in worst:
                quiet, _ = measure(host, client, folder, False, where)
                saving, seconds = measure(host, client, folder, True, where)
                added = quantile(saving, 0.99) - quantile(quiet, 0.99)
                worst[where].append(added)
                print(line(f"run {number + 1}, {where} writes, no save", quiet))
                save = f"saves of {statistics.median(seconds):.1f} s"
                print(line(f"run {number + 1}, {where} writes, {save}", saving), flush=True)
    path.unlink()
    for where, more in worst.items():
        texts = ", ".join(f"{each:+.2f}" for each in more)
        print(f"{shape}: the p99 of writes of the {where} during saves: {texts} ms")
    return all(each <= LIMIT for more in worst.values() for each in more)


START = """
import json, os, sys, time
from memsync import MemSync

def megabytes(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(name))

before = megabytes("VmRSS")
begin = time.perf_counter()
MemSync("obj", {}, {"file": {"path": sys.argv[1], "debounce": 3600}, "timeout": 600}).start()
seconds = time.perf_counter() - begin
print(json.dumps([seconds, megabytes("VmHWM") - before, megabytes("VmRSS") - before]), flush=True)
os.kill(os.getpid(), 9)
"""


def start(shape: str, size: int, runs: int, folder: Path) -> None:
    """What a start from a file takes."""
    path = folder / "start.json"
    path.write_text(json.dumps({"data": SHAPES[shape](size)}))
    found = []
    for _ in range(runs):
        answer = subprocess.run(
            [sys.executable, "-c", START, str(path)], capture_output=True, text=True, check=False
        )
        found.append(json.loads(answer.stdout))
    took, most, now = (statistics.median(column) for column in zip(*found, strict=True))
    print(
        f"{shape}: start from {path.stat().st_size / 1e6:.1f} MB in {took:.2f} s, "
        f"{most:.0f} MB at most, {now:.0f} MB afterwards"
    )


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.studies.storage", description=__doc__)
    parser.add_argument("--runs", type=at_least(1), default=3)
    parser.add_argument("--megabytes", type=at_least(1), default=100)
    parser.add_argument("--shape", choices=[*SHAPES, "all"], default="all")
    arguments = parser.parse_args()
    shapes = list(SHAPES) if arguments.shape == "all" else [arguments.shape]
    size = arguments.megabytes * 1_000_000
    print(f"python -m benchmarks.studies.storage --megabytes {arguments.megabytes}")
    is_kept = True
    with tempfile.TemporaryDirectory(prefix="ms-") as folder:
        os.environ["MEMSYNC_DIR"] = os.path.join(folder, "d")
        for shape in shapes:
            start(shape, size, arguments.runs, Path(folder))
            is_kept &= study(shape, size, arguments.runs, Path(folder))
        leftovers.remove(Path(os.environ["MEMSYNC_DIR"]))  # the witnesses are outside
    print(f"the promise of at most {LIMIT:g} ms more is {'kept' if is_kept else 'NOT kept'}")
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
