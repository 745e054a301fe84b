"""CPU time and memory of other processes, as Linux reports them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

ON_LINUX = sys.platform == "linux"
_SCHEDULED = 2  # the clock of a process that counts what the scheduler gave it, in nanoseconds


def cpu_seconds(pids: Iterable[int]) -> float:
    """The CPU time that processes have used since their start, all threads together."""
    return sum(time.clock_gettime((~pid << 3) | _SCHEDULED) for pid in pids)


def pss_bytes(pid: int) -> int:
    """The memory of a process, with its share of what it shares with others."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("Pss:")).split()[1])


def is_running(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
