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
        "The time of the group for one write: with `network.spin` at its default, and at 0. The "
        "must means that spinning never costs more than 3 %.",
    )

    def open(self, bench: Bench) -> list[Measure]:
        if OPTION not in schema():
            raise Skipped(f"memsync has no option {OPTION}")
        bench.base = None  # the group without spinning is the base
        spinning = open_groups(bench, [SharedObject()], max(WRITERS))
        others = open_groups(bench, [SharedObject({"network": {"spin": 0}})], max(WRITERS))
        return [
            partial(measure, group, writers, series(writers, spins), bench.count(WRITES))
            for writers in WRITERS
            for group, spins in ((spinning[0], True), (others[0], False))
        ]


def measure(group: Group, writers: int, name: str, writes: int) -> dict[str, float]:
    each = writes // writers
    begin = time.perf_counter()
    run_all(group.workers[:writers], "write", each)
    return {name: (time.perf_counter() - begin) / (each * writers) * 1e6}
