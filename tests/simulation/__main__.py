"""``python -m tests.simulation [--seed FIRST] [--seeds COUNT] [--tell]``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from .run import run


def main() -> int:
    """Run the seeds that the command line names; 1 when one of them finds a violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, metavar="FIRST", help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, metavar="COUNT", help="how many of them")
    parser.add_argument("--tell", action="store_true", help="print what happens")
    arguments = parser.parse_args()
    violations = 0
    counts: Counter[str] = Counter()
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        result, story = run(seed, tell=arguments.tell)
        counts += result.counts
        for line in story:
            print(line)
        for violation in result.violations:
            print(f"seed {seed}: {violation}")
        if result.violations:
            violations += 1
            print(f"replay: python -m tests.simulation --seed {seed} --tell", flush=True)
    if arguments.tell:
        for name, count in sorted(counts.items()):
            print(f"{count:8} {name}")
    print(f"seeds {arguments.seeds} violations {violations}")
    return 1 if violations else 0


sys.exit(main())
