"""One process makes one acknowledged write after the other; the only other process serves."""

from __future__ import annotations

import time
from functools import partial

from ..model import Bench, Goal, Measure, Workload
from ..systems import (
    Client,
    DiskCache,
    Group,
    ManagerDict,
    ManagerMethod,
    PySyncObj,
    Redis,
    RedisScript,
    SharedObject,
    System,
    UltraDict,
    open_groups,
)

WRITES = 2000
SLOW_WRITES = 200  # of systems that take more than half a millisecond


def systems() -> list[System]:
    replicating: list[System] = [SharedObject(), Redis(), RedisScript(), PySyncObj()]
    return [*replicating, ManagerDict(), ManagerMethod(), UltraDict(), DiskCache()]


class Increment(Workload):
    name = "increment"
    title = "acknowledged write, no other replica"
    unit = "us"
    goals = (Goal(against="Manager: dict", must=2.0, aim=1.0),)
    rounds = 9
    notes = (
        "memsync: `patch({'$inc': {'n': 1}})` of a client. `Manager: dict`: `d['n'] = value`. "
        "Redis: `INCR`, then `PUBLISH` of its result; or both in a Lua script.",
    )

    def open(self, bench: Bench) -> list[Measure]:
        return [partial(measure, bench, group) for group in open_groups(bench, systems(), 1)]


def measure(bench: Bench, group: Group) -> dict[str, float]:
    times = bench.count(SLOW_WRITES if group.system.name == "PySyncObj" else WRITES)
    return {group.system.name: group.workers[0].run(write, times)}


def write(client: Client, times: int) -> float:
    """Microseconds of one write."""
    begin = time.perf_counter()
    client.write(times)
    return (time.perf_counter() - begin) / times * 1e6
