"""Prove what is promised about saving: python -m tests.storage NAME --count N.

`states` checks states of the disk after a crash, `journal` those of a journal. `everybody` kills
all processes that write with a journal. `kills` kills hosts that save, `syncs` has the syncs of
saves fail, `full` fills a small disk (it needs the right to mount one), and `frozen` suspends hosts
in the middle of a save. Exits with 1 if something was wrong.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from . import crash_states, journal_states
from .campaigns import everybody, failing_disk, frozen, kills

PER_RECORD = 10

Campaign = Callable[[int, int, Path], tuple[str, list[str]]]


def states(count: int, seed: int, folder: Path) -> tuple[str, list[str]]:
    """Crashes of the system in the middle of saves, in memory."""
    return _checked(crash_states.check, count, seed)


def journals(count: int, seed: int, folder: Path) -> tuple[str, list[str]]:
    """Crashes of the system in the middle of journals, in memory."""
    return _checked(journal_states.check, count, seed)


def _checked(
    check: Callable[[int, int], list[str]], count: int, seed: int
) -> tuple[str, list[str]]:
    records = -(-count // PER_RECORD)
    wrong = [each for first in range(records) for each in check(seed + first, PER_RECORD)]
    return f"{records * PER_RECORD} states, {len(wrong)} wrong", wrong


CAMPAIGNS: dict[str, tuple[Campaign, int]] = {
    "states": (states, 10_000),
    "journal": (journals, 10_000),
    "everybody": (everybody.run, 200),
    "kills": (kills.run, 1000),
    "syncs": (failing_disk.fail_syncs, 1000),
    "full": (failing_disk.fill_disk, 20),
    "frozen": (frozen.run, 30),
}
"""Each with its usual count."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.storage", description=__doc__)
    parser.add_argument("name", choices=CAMPAIGNS, nargs="?", default="states")
    parser.add_argument("--count", "--states", type=int, help="rounds, states, or seconds (frozen)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    campaign, count = CAMPAIGNS[arguments.name]
    logging.getLogger("memsync").setLevel(logging.CRITICAL)  # errors are what it is about
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ms-") as folder:
        os.environ["MEMSYNC_DIR"] = f"{folder}/d"
        place = Path(folder, "files")
        place.mkdir()
        line, wrong = campaign(arguments.count or count, arguments.seed, place)
    for each in wrong[:20]:
        print(each)
    print(f"{arguments.name}: {line}, {time.monotonic() - begin:.1f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
