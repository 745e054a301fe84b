"""``python -m tests.chaos [--seed FIRST] [--rounds COUNT] [--start-method METHOD]``."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from ..process_helpers import start_helpers
from .plan import METHODS
from .round import Round


def whole(text: str) -> int:
    """A number from 0 on."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative: give a number from 0 on")
    return number


def main() -> int:
    """Run the rounds that the command line names; 1 when one of them finds a violation."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Hurt groups of real processes, round after round, each from a seed.",
    )
    parser.add_argument("--seed", type=whole, default=0, metavar="FIRST", help="the first seed")
    parser.add_argument("--rounds", type=whole, default=10, metavar="COUNT", help="how many")
    parser.add_argument("--start-method", choices=METHODS, help="default: one after the other")
    arguments = parser.parse_args()
    start_helpers()
    violations = 0
    for seed in range(arguments.seed, arguments.seed + arguments.rounds):
        try:
            violations += not run(seed, arguments.start_method)
        except KeyboardInterrupt:
            print(f"interrupted in seed {seed}, before it violations {violations}")
            return 130
    print(f"rounds {arguments.rounds} violations {violations}")
    return 1 if violations else 0


def run(seed: int, method: str | None) -> bool:
    """One round, told in a line; more of them when it goes wrong."""
    begin = time.monotonic()
    round_ = Round(seed, method)
    found = round_.run()
    outcomes = Counter(
        write.outcome or "untold"
        for writer in round_.history.writers.values()
        for write in writer.writes.values()
    )
    told = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
    method = round_.plan.method
    print(f"seed {seed} ({method}): {time.monotonic() - begin:.1f} s, writes: {told}", flush=True)
    for text in found:
        print(f"seed {seed}: {text}")
    if found:
        print(f"what happened: {round_.notes}")
        print(
            f"replay: python -m tests.chaos --seed {seed} --rounds 1 --start-method {method}",
            flush=True,
        )
    return not found


sys.exit(main())
