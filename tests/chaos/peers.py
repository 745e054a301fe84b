"""Where the chaos takes its processes from: the helpers of all tests, imported here only."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # for `python -m tests.chaos`

from lasting import log_to, start_helpers

from memsync.testing import PATIENCE, Cluster, Peer, until

__all__ = ["PATIENCE", "Cluster", "Peer", "log_to", "start_helpers", "until"]
