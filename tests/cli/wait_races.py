"""Races of ``memsync wait`` with the write for which it waits.

``python -m tests.cli.wait_races --races COUNT --seed SEED``: another process makes each write at a
random moment around the one in which the command checks the object and begins to wait. A wait that
misses its write runs into its time-out, and the program exits with 1. It prints how many writes
came before the check and after it, and how many were close.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

from memsync import MemSync
from memsync.clocks import monotonic
from memsync.testing import private_folder

from .command import run

NAME = "raced"
CLOSE = 0.001  # seconds
PATIENCE = "20"  # seconds that a wait has
SPREAD = 0.03  # seconds, of the first write

WRITER = f"""
import sys, time
from memsync import MemSync
from memsync.clocks import monotonic
with MemSync({NAME!r}, {{"n": 0}}) as mem:
    print("ready", flush=True)
    for line in sys.stdin:
        number, delay = line.split()
        time.sleep(float(delay))
        mem.patch({{"$set": {{"n": int(number)}}}})
        print(monotonic(), flush=True)
"""


class Races(NamedTuple):
    """What has come of some races."""

    missed: int
    before: int  # writes before the check
    after: int
    close: int  # less than a millisecond from it


@contextmanager
def started_writer() -> Iterator[tuple[IO[str], IO[str]]]:
    """A process that makes the writes; the pipes to it and from it."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.stdin, process.stdout
        process.stdin.close()


def race(count: int, seed: int) -> Races:
    """Run some races in the rendezvous folder of this process."""
    rng, checked = random.Random(seed), [0.0]
    original = MemSync.wait_for

    def noting(mem: MemSync[Any], *args: Any, **kwargs: Any) -> Any:
        checked[0] = monotonic()
        return original(mem, *args, **kwargs)

    MemSync.wait_for = noting  # type: ignore[assignment, method-assign]  # to see when the check is made
    missed = before = after = close = 0
    spread = SPREAD
    try:
        with started_writer() as (orders, answers):
            for number in range(1, count + 1):
                begun = monotonic()
                print(number, rng.uniform(0, spread), file=orders, flush=True)
                ended = run("wait", NAME, f'{{"n": {{"$gte": {number}}}}}', "--timeout", PATIENCE)
                distance = float(answers.readline()) - checked[0]
                spread = 2 * (checked[0] - begun)  # a busy machine joins late
                missed += ended.status != 0
                before += distance < 0
                after += distance >= 0
                close += abs(distance) < CLOSE
    finally:
        MemSync.wait_for = original  # type: ignore[method-assign]
    return Races(missed, before, after, close)


def main() -> int:
    """Run the races that the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--races", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with private_folder() as folder:
        os.environ["MEMSYNC_DIR"] = str(folder)
        found = race(arguments.races, arguments.seed)
    print(found)
    return 1 if found.missed else 0


if __name__ == "__main__":
    sys.exit(main())
