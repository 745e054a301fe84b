"""``python -m tests.simulation [--seed FIRST] [--seeds COUNT] [--tell] [--wipes]``."""

from __future__ import annotations

import argparse
import gc
import sys
from collections import Counter
from contextlib import nullcontext

from .checkers import what_never_happened
from .mutations import MUTATIONS
from .run import run

ENOUGH = 300  # seeds in which everything has to happen
GARBAGE = 100  # seeds between two collections of garbage


def whole(text: str) -> int:
    """A number from 0 on."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative: give a number from 0 on")
    return number


def main() -> int:
    """Run the seeds that the command line names; 1 when one of them finds a violation."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description="Run a group of peers on a virtual platform, with faults, from a seed.",
    )
    parser.add_argument("--seed", type=whole, default=0, metavar="FIRST", help="the first seed")
    parser.add_argument("--seeds", type=whole, default=1, metavar="COUNT", help="how many")
    parser.add_argument(
        "--tell", action="store_true", help="print the configuration and the events"
    )
    parser.add_argument("--wipes", action="store_true", help="also delete locks and witnesses")
    parser.add_argument("--mutation", choices=MUTATIONS, metavar="NAME", help="break the code")
    arguments = parser.parse_args()
    gc.disable()  # nearly all that a run makes lives as long as the run
    violations = 0
    counts: Counter[str] = Counter()
    fail_overs: list[float] = []
    with MUTATIONS[arguments.mutation]() if arguments.mutation else nullcontext():
        for seed in range(arguments.seed, arguments.seed + arguments.seeds):
            if seed % GARBAGE == 0:
                gc.collect()
            result, story = run(seed, tell=arguments.tell, wipes=arguments.wipes)
            counts += result.counts
            fail_overs += result.fail_overs
            for line in story:
                print(line)
            for violation in result.violations:
                print(f"seed {seed}: {violation}")
            if result.violations:
                violations += 1
                how = f" --mutation {arguments.mutation}" if arguments.mutation else ""
                how += " --wipes" if arguments.wipes else ""
                print(f"replay: python -m tests.simulation --seed {seed} --tell{how}", flush=True)
    if arguments.tell:
        for name, count in sorted(counts.items()):
            print(f"{count:8} {name}")
    is_whole = arguments.seeds >= ENOUGH and not arguments.wipes
    idle = what_never_happened(counts) if is_whole else []
    if fail_overs and is_whole:
        fail_overs.sort()
        shown = [fail_overs[len(fail_overs) * share // 100] for share in (50, 99)]
        print(
            f"fail-overs {len(fail_overs)}: median {shown[0]:.3f} s, 99 of 100 within "
            f"{shown[1]:.3f} s, longest {fail_overs[-1]:.3f} s"
        )
    for what in idle:
        print(f"in {arguments.seeds} seeds this did not happen: {what}")
    print(f"seeds {arguments.seeds} violations {violations + bool(idle)}")
    return 1 if violations or idle else 0


sys.exit(main())
