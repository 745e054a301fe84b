"""How long the import takes in a new process."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from ..model import Bench, Goal, Measure, Workload

TIMES = 5  # in one round
PROGRAM = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
STATEMENTS = {
    "memsync": "from memsync import MemSync",
    "multiprocessing.managers": "from multiprocessing.managers import BaseManager",
    "redis": "import redis",
    "diskcache": "import diskcache",
    "pysyncobj": "import pysyncobj",
    "UltraDict": "import UltraDict",
}


class ImportTime(Workload):
    name = "import"
    title = "import, beyond that of `multiprocessing.managers`"
    unit = "ms"
    goals = (Goal(against="multiprocessing.managers", must=40.0, aim=15.0, minus=True),)
    rounds = 7
    notes = (
        "Measured inside a new interpreter, around `from memsync import MemSync`: `import memsync` "
        "alone imports nothing but the names.",
    )

    def open(self, bench: Bench) -> list[Measure]:
        cache = bench.new_folder()  # compiled by the warm-up, as an installation does
        measures = []
        for name, statement in STATEMENTS.items():
            if find_spec(statement.split()[1].split(".")[0]) is None:
                bench.skipped[name] = "not installed"
            else:
                measures.append(partial(measure, name, statement, bench.count(TIMES, 2), cache))
        return list(measures)


def measure(name: str, statement: str, times: int, cache: Path) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", PROGRAM.format(statement)]
    taken = []
    for _ in range(times):
        found = subprocess.run(command, capture_output=True, check=True, env=environment)
        taken.append(float(found.stdout))
    return {name: statistics.median(taken) * 1e3}
