"""Four processes increment one counter, each waiting for each increment; the sum must be exact."""

from __future__ import annotations

import time
from functools import partial

from ..model import Bench, Goal, Measure, Workload
from ..processes import run_all
from ..systems import (
    DiskCache,
    Group,
    ManagerLock,
    ManagerMethod,
    PySyncObj,
    Redis,
    SharedObject,
    UltraDict,
    open_groups,
)

WRITERS = 4
WRITES = 1500  # of each
SLOW_WRITES = {"PySyncObj": 150, "Manager: dict with Lock": 400}


class WritersWaiting(Workload):
    name = "writers-waiting"
    title = "4 waiting writers, exact"
    unit = "writes/s"
    higher_is_better = True
    goals = (
        Goal(against="Manager: dict with Lock", must=3.0),
        Goal(against="Manager: own class", aim=1.0),
    )
    notes = (
        "Only memsync and PySyncObj have each write in several processes when it is acknowledged. "
        "`Manager: own class` has a method that increments under a lock of the server process.",
    )

    def open(self, bench: Bench) -> list[Measure]:
        managers = [ManagerLock(), ManagerMethod()]
        others = [UltraDict(), DiskCache(), Redis(), PySyncObj()]
        groups = open_groups(bench, [SharedObject(), *managers, *others], WRITERS)
        return [partial(measure, bench, group) for group in groups]


def measure(bench: Bench, group: Group) -> dict[str, float]:
    times = bench.count(SLOW_WRITES.get(group.system.kind, WRITES))
    expected = group.workers[0].run("count") + WRITERS * times
    begin = time.perf_counter()
    run_all(group.workers, "increment", times)
    seconds = time.perf_counter() - begin
    check_count(group, expected)
    return {group.system.name: WRITERS * times / seconds}


def check_count(group: Group, expected: int) -> None:
    """Fail if increments are lost or doubled; the last ones may still be on their way."""
    deadline = time.monotonic() + 5
    while (found := group.workers[0].run("count")) != expected:
        if time.monotonic() > deadline:
            raise AssertionError(f"{group.system.name} counts {found} instead of {expected}")
        time.sleep(0.01)
