"""Memory under a million patches: how much the host and two replicas grow over the second half.

Run: ``python -m benchmarks.studies.growth [PATCHES]``. The aim is less than 5 % each.
"""

from __future__ import annotations

import os
import sys
import tempfile
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from memsync import MemSync

PATCHES = 1_000_000
FIELDS = 100  # counters that are written again and again
SAMPLES = 10


def resident_kib(pid: int) -> int:
    """The resident memory of a process, in KiB (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def take_part(pipe: Connection, writes: int) -> None:
    """A peer; one that writes submits increments, a tenth of them pushes to a short list."""
    mem: MemSync[Any] = MemSync("memory", {"list": []})
    with mem:
        pipe.send("ready")
        pipe.recv()
        for number in range(writes):
            if number % 10:
                mem.submit({"$inc": {f"field{number % FIELDS}": 1}})
            else:
                mem.submit({"$push": {"list": {"$each": [number], "$slice": -10}}})
            if writes and not number % (writes // SAMPLES):
                pipe.send(number)
        if writes:
            mem.patch({"$set": {"done": True}}, timeout=60)
        mem.wait_for({"done": True}, timeout=3600)
        pipe.send("done")
        pipe.recv()


def main() -> None:
    patches = int(sys.argv[1]) if len(sys.argv) > 1 else PATCHES
    with tempfile.TemporaryDirectory(prefix="ms-") as folder:
        os.environ["MEMSYNC_DIR"] = os.path.join(folder, "d")
        context = get_context("spawn")
        peers = []
        for name, writes in (("host", 0), ("writer", patches), ("replica", 0)):
            ours, theirs = context.Pipe()
            process = context.Process(target=take_part, args=(theirs, writes))
            process.start()
            ours.recv()
            peers.append((name, process, ours))
        for _, _, pipe in peers:
            pipe.send("go")
        samples: list[list[int]] = []
        writer = peers[1][2]
        while writer.recv() != "done":
            samples.append([resident_kib(process.pid or 0) for _, process, _ in peers])
        for _, _, pipe in (peers[0], peers[2]):
            pipe.recv()
        samples.append([resident_kib(process.pid or 0) for _, process, _ in peers])
        for _, process, pipe in peers:
            pipe.send("end")
            process.join()
        report(patches, [name for name, _, _ in peers], samples)


def report(patches: int, names: list[str], samples: list[list[int]]) -> None:
    """The growth of each over the second half of the run."""
    print(f"{patches:,} patches; resident memory in MiB at the start, half-way and at the end")
    half = samples[len(samples) // 2]
    for index, name in enumerate(names):
        first, middle, last = (each[index] / 1024 for each in (samples[0], half, samples[-1]))
        growth = (last - middle) / middle * 100
        print(f"{name:8} {first:7.1f} {middle:7.1f} {last:7.1f}   second half {growth:+5.1f} %")


if __name__ == "__main__":
    main()
