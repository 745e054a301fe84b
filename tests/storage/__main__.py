"""Check many states of the disk after a crash: python -m tests.storage --states 10000."""

from __future__ import annotations

import argparse
import sys
import time

from .crash_states import check

PER_RECORD = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.storage", description=__doc__)
    parser.add_argument("--states", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    begin, wrong = time.monotonic(), []
    records = -(-arguments.states // PER_RECORD)
    for seed in range(arguments.seed, arguments.seed + records):
        wrong += check(seed, PER_RECORD)
    for line in wrong[:20]:
        print(line)
    seconds = time.monotonic() - begin
    print(f"{records * PER_RECORD} states, {len(wrong)} wrong, {seconds:.1f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
