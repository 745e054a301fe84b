"""``python -m tests.interrupts [--places COUNT] [--seed SEED] [--only WORD]``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable
from functools import partial

from memsync.testing import private_folder

from ..process_helpers import start_helpers
from .lifecycles import LIFE, OTHERS, interrupt_life
from .sample import Choose, every, sample
from .scenarios import CALLS, GROUPS, Report, interrupt_calls


def main() -> int:
    """Interrupt all calls; 1 when one of them leaves something broken."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.interrupts",
        description="Raise exceptions at each place of each call, and look at what is left.",
    )
    parser.add_argument("--places", type=int, default=0, help="of each call (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="which places, if not all")
    parser.add_argument("--only", default="", metavar="WORD", help="calls with this in their name")
    arguments = parser.parse_args()
    choose = sample(arguments.places, arguments.seed) if arguments.places else every
    logging.disable(logging.CRITICAL)
    start_helpers()
    found: list[Report] = []
    with private_folder() as folder:
        os.environ["MEMSYNC_DIR"] = str(folder)
        for name, run in _runs().items():
            if arguments.only not in name:
                continue
            begin = time.monotonic()
            report = run(choose)
            found.append(report)
            seconds = time.monotonic() - begin
            print(
                f"{name}: places {report.places} reached {report.reached} "
                f"broken {len(report.broken)} ({seconds:.0f} s)",
                flush=True,
            )
            for text in report.broken:
                print(f"  {text}", flush=True)
    places, reached = sum(each.places for each in found), sum(each.reached for each in found)
    broken = sum(len(each.broken) for each in found)
    print(f"places {places} reached {reached} broken {broken}")
    return 1 if broken else 0


def _runs() -> dict[str, Callable[[Choose], Report]]:
    calls = {
        f"{group}, {call}": partial(interrupt_calls, group, call)
        for group in GROUPS
        for call in CALLS
    }
    lives = {
        f"{others}, {call}": partial(interrupt_life, others, call)
        for others in OTHERS
        for call in LIFE
    }
    return {**calls, **lives}


if __name__ == "__main__":
    sys.exit(main())
