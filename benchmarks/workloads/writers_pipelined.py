"""Four processes increment one counter without waiting, until every process is up to date."""

from __future__ import annotations

import time
from functools import partial

from ..model import Bench, Goal, Measure, Workload
from ..processes import run_all
from ..systems import Group, ManagerLock, PySyncObj, Redis, SharedObject, open_groups
from ..systems.base import until_seen
from .writers_waiting import WRITERS, check_count

WRITES = {"memsync": 4000, "Redis": 15_000, "PySyncObj": 250, "Manager: dict with Lock": 500}


class WritersPipelined(Workload):
    name = "writers-pipelined"
    title = "4 pipelined writers, until all replicas are up to date"
    unit = "writes/s"
    higher_is_better = True
    goals = (
        Goal(against="Manager: dict with Lock", must=8.0),
        Goal(against="Redis", aim=0.5),
    )
    notes = (
        "memsync and PySyncObj: until all five processes hold the sum. Redis: pipelines of 1,000 "
        "`INCR`, which replicate nothing. The manager has no pipeline: its writers wait.",
        "The must is 40,000/s where the manager does 5,000/s.",
    )

    def open(self, bench: Bench) -> list[Measure]:
        systems = [SharedObject(), ManagerLock(), Redis(), PySyncObj()]
        groups = open_groups(bench, systems, WRITERS)
        return [partial(measure, bench, group) for group in groups]


def measure(bench: Bench, group: Group) -> dict[str, float]:
    name, kind = group.system.name, group.system.kind
    times = bench.count(WRITES[kind])
    expected = group.workers[0].run("count") + WRITERS * times
    begin = time.perf_counter()
    if kind in ("memsync", "PySyncObj"):
        run_all(group.workers, "increment_pipelined", times)
        run_all([group.server, *group.workers], until_seen, expected)
    elif kind == "Redis":
        run_all(group.workers, "increment_pipelined", times)
    else:
        run_all(group.workers, "increment", times)
    seconds = time.perf_counter() - begin
    check_count(group, expected)
    return {name: WRITERS * times / seconds}
