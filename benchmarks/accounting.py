"""CPU time and memory of other processes, as Linux reports them."""

from __future__ import annotations

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


def busy_share(seconds: float) -> float | None:
    """The share of all CPUs that programs use, measured for a while; None where it is unknown."""
    if not ON_LINUX:
        return None
    before = _cpu_ticks()
    time.sleep(seconds)
    # The fifth number is waiting for input and output; Linux may take back some of it.
    passed = [max(after - start, 0) for start, after in zip(before, _cpu_ticks(), strict=True)]
    idle = passed[3] + passed[4]
    return 1 - idle / max(sum(passed), 1)


def _cpu_ticks() -> list[int]:
    """The time of all CPUs by what they did: user, nice, system, idle, iowait ..."""
    first = Path("/proc/stat").read_text().partition("\n")[0]
    return [int(ticks) for ticks in first.split()[1:9]]
