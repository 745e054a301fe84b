"""What a write with ``journal=True`` costs, and how many of them share a sync.

Run: ``python -m benchmarks.studies.journal [--seconds N] [--rounds N] [--slower MS]``. Writers
in processes of their own write one after the other: 1 and 16, with the journal and without. Beside
it, bare: one process that appends a line of the same size and syncs. The rounds are interleaved.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from memsync import MemSync
from memsync.storage.file_layer import FileLayer
from memsync.testing import Cluster
from tests.chaos import leftovers

LINE = b"x" * 240 + b"\n"


def write_until(mem: MemSync[Any], journal: bool, seconds: float) -> int:
    """The number of acknowledged writes of one writer."""
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        mem.patch({"$inc": {"n": 1}}, journal=journal)
        count += 1
    return count


def syncs(mem: MemSync[Any]) -> int:
    count: int = mem.get_status()["storage"]["journal"]["syncs"]
    return count


def slow_disk(mem: MemSync[Any], seconds: float) -> None:
    """From now on a sync of this process takes that much longer."""
    sync = FileLayer.sync

    def slowly(self: FileLayer, descriptor: int) -> None:
        sync(self, descriptor)
        time.sleep(seconds)

    FileLayer.sync = slowly  # type: ignore[method-assign]


def bare(folder: Path, seconds: float) -> int:
    """Appends with a sync each, by one process."""
    descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        os.write(descriptor, LINE)
        os.fsync(descriptor)
        count += 1
    os.close(descriptor)
    return count


def measure(
    folder: Path, writers: int, journal: bool, seconds: float, slower: float
) -> tuple[float, float]:
    """Acknowledged writes and syncs per second."""
    path = folder / f"{writers}-{journal}-{time.monotonic_ns()}.json"
    options = {"file": {"path": str(path), "journal": True, "debounce": 3600}}
    with tempfile.TemporaryDirectory() as rendezvous, Cluster() as cluster:
        os.environ["MEMSYNC_DIR"] = rendezvous
        host = cluster.peer({"n": 0}, options)
        host.run(slow_disk, slower)
        peers = [cluster.peer() for _ in range(writers)]
        host.run(write_until, True, 0.2)
        before = host.run(syncs)
        tickets = [peer.begin(write_until, journal, seconds) for peer in peers]
        total = sum(
            peer.result(ticket, seconds + 30) for peer, ticket in zip(peers, tickets, strict=True)
        )
        synced = host.run(syncs) - before
        cluster.close()
        leftovers.remove(Path(rendezvous))
        return total / seconds, synced / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slower", type=float, default=0, help="milliseconds more for each sync")
    parser.add_argument("--folder", type=Path, help="where the files are (the temporary folder)")
    arguments = parser.parse_args()
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        for _ in range(arguments.rounds):
            rates.setdefault("bare appends", []).append(
                bare(folder, arguments.seconds) / arguments.seconds
            )
            for writers in (1, 16):
                for journal in (True, False):
                    slower = arguments.slower / 1000
                    writes, per_second = measure(
                        folder, writers, journal, arguments.seconds, slower
                    )
                    title = f"{writers} writer{'s' * (writers > 1)}, journal={journal}"
                    rates.setdefault(title, []).append(writes)
                    if journal:
                        rates.setdefault(f"{title}: syncs", []).append(per_second)
    for title, values in rates.items():
        print(f"{title:32} {statistics.median(values):8.0f}/s  {[round(v) for v in values]}")
    many, one = (statistics.median(rates[f"{n}, journal=True"]) for n in ("16 writers", "1 writer"))
    print(f"16 waiting writers write {many / one:.2f} x as much as one")


if __name__ == "__main__":
    main()
