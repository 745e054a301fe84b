"""How long the import takes in a new process, and how long until that process takes part."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from ..model import Bench, Goal, Measure, Workload
from ..processes import DEADLINE
from ..systems import BASE, OWN, Group, ManagerDict, SharedObject, open_groups
from ..systems.managers import KEY
from ..systems.shared_object import NAME

TIMES = 5  # in one round
PROGRAM = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
MEMSYNC, MANAGERS = "memsync", "multiprocessing.managers"
IMPORTS = {
    MEMSYNC: "from memsync import MemSync",
    MANAGERS: "from multiprocessing.managers import BaseManager",
    "redis": "import redis",
    "diskcache": "import diskcache",
    "pysyncobj": "import pysyncobj",
    "UltraDict": "import UltraDict",
}
START = "from memsync import MemSync; MemSync({name!r}).start()"
CONNECT = (
    "from multiprocessing import current_process; current_process().authkey = {key!r}; "
    "from multiprocessing.managers import BaseManager as B, DictProxy; "
    "B.register('shared_dict', None, DictProxy); m = B({address!r}, {key!r}); m.connect(); "
    "m.shared_dict()['n']"
)


class ImportTime(Workload):
    name = "import"
    title = "import, beyond that of `multiprocessing.managers`"
    unit = "ms"
    goals = (
        Goal(against=MANAGERS, must=40.0, aim=15.0, minus=True),
        Goal(f"{MEMSYNC}, started", f"{MANAGERS}, connected", minus=True),
    )
    rounds = 7
    notes = (
        "Measured inside a new interpreter, around `from memsync import MemSync` (`import memsync` "
        "alone imports nothing but the names). memsync imports most of itself in `start()`: "
        "`started` is the import and the start of a client in a group of two, `connected` the "
        "import, the connection to a manager, and one read.",
    )

    def open(self, bench: Bench) -> list[Measure]:
        times = bench.count(TIMES, 2)
        cache = bench.new_folder()  # compiled by the warm-up, as an installation does
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(cache), "PYTHONPATH": str(OWN)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        measures = []
        for name, statement in IMPORTS.items():
            if find_spec(statement.split()[1].split(".")[0]) is None:
                bench.skipped[name] = "not installed"
            else:
                measures.append(partial(measure, name, statement, times, environment))
        for group in open_groups(bench, [SharedObject(), ManagerDict()], 1):
            name, statement = first_use(group)
            variables = {**environment, **group.system.environment()}
            if group.system.name == BASE:
                variables["PYTHONPATH"] = str(bench.base)
                measures.append(partial(measure, BASE, IMPORTS[MEMSYNC], times, variables))
            measures.append(partial(measure, name, statement, times, variables))
        return list(measures)


def first_use(group: Group) -> tuple[str, str]:
    """The name of a series, and what a program does until it takes part."""
    if group.system.kind == MEMSYNC:
        _, comma, base = group.system.name.partition(",")
        return f"{MEMSYNC}, started{comma}{base}", START.format(name=NAME)
    address = str(Path(group.system.folder) / "s")
    return f"{MANAGERS}, connected", CONNECT.format(address=address, key=KEY)


def measure(name: str, statement: str, times: int, environment: dict[str, str]) -> dict[str, float]:
    # -P: the current folder does not come before PYTHONPATH.
    command = [sys.executable, "-P", "-c", PROGRAM.format(statement)]
    taken = []
    for _ in range(times):
        found = subprocess.run(
            command, capture_output=True, check=True, env=environment, timeout=DEADLINE
        )
        taken.append(float(found.stdout))
    return {name: statistics.median(taken) * 1e3}
