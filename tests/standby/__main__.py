"""``python -m tests.standby --ends 100``: prints the verdict; exits with 1 at a violation."""

from __future__ import annotations

import argparse
import sys

from ..process_helpers import start_helpers
from .run import run

if __name__ == "__main__":
    start_helpers()
    parser = argparse.ArgumentParser("python -m tests.standby", description=__doc__)
    parser.add_argument("--ends", type=int, default=100, help="of a writer (default: 100)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    verdict = run(arguments.ends, arguments.seed)
    print(verdict)
    sys.exit(bool(verdict.violations))
