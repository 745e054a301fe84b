"""Campaigns: ``python -m tests.journal corrupt|equal|large [--count N] [--seed N]``.

Prints what was found as JSON; exits with 1 if a damaged journal was missed, or if the replayed
object is another one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from . import corrupt, equal, large


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.journal")
    parser.add_argument("campaign", choices=["corrupt", "equal", "large"])
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if chosen.campaign == "corrupt":
            found = corrupt.run(Path(folder), chosen.count or 1000, chosen.seed)
            is_well = found["missed"] == 0
        elif chosen.campaign == "equal":
            told = equal.run(Path(folder), chosen.count or 100_000, chosen.seed)
            found, is_well = told, bool(told["equal"])
        else:
            found, is_well = large.run(Path(folder), chosen.count or 1_000_000), True
    print(json.dumps(found))
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
