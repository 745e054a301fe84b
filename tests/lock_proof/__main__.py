"""``python -m tests.lock_proof``: exits with 1 at a violation."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from memsync.testing import Cluster

from .proof import Proof


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.lock_proof", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MEMSYNC_DIR"] = f"{folder}/memsync"
        with Cluster() as cluster:
            report = Proof(cluster, Path(folder), arguments.seed).run(arguments.rounds)
    print(report)
    for violation in report.violations[:10]:
        print(violation)
    return bool(report.violations) or report.refused < report.late


if __name__ == "__main__":
    sys.exit(main())
