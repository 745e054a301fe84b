"""Whether spinning before a wait ever costs: 1, 2, 4 and 16 writers, with it and without."""

from __future__ import annotations

import time
from functools import partial

from memsync.options.schema import schema

from ..model import Bench, Goal, Measure, Skipped, Workload
from ..processes import run_all
from ..systems import Group, SharedObject, open_groups

WRITERS = (1, 2, 4, 16)
WRITES = 2000  # of all together
OPTION = "network.spin"
WORST = 1.03  # the time with spinning to that without


def series(writers: int, spins: bool) -> str:
    return f"{writers} writer{'s' if writers > 1 else ''}, {'spin' if spins else 'no spin'}"


class Spin(Workload):
    name = "spin"
    title = "waiting writers with and without spinning"
    unit = "us"
    goals = tuple(
        Goal(series(writers, True), series(writers, False), must=WORST) for writers in WRITERS
    )
    rounds = 15
    notes = (
        "The time for one write in a group of a host and that many clients, which all write and "
        "wait: with `network.spin` at its default, and at 0. The must means that spinning never "
        "costs more than 3 %.",
    )

    def open(self, bench: Bench) -> list[Measure]:
        if OPTION not in schema():
            raise Skipped(f"memsync has no option {OPTION}")
        bench.base = None  # the group without spinning is the base
        return [
            partial(measure, group, series(writers, spins), bench.count(WRITES))
            for writers in WRITERS
            for spins, options in ((True, None), (False, {"network": {"spin": 0}}))
            for group in open_groups(bench, [SharedObject(options)], writers)
        ]


def measure(group: Group, name: str, writes: int) -> dict[str, float]:
    each = writes // len(group.workers)
    begin = time.perf_counter()
    run_all(group.workers, "write", each)
    return {name: (time.perf_counter() - begin) / (each * len(group.workers)) * 1e6}
