"""A process that has imported what it needs gets an object of 100,000 keys."""

from __future__ import annotations

import statistics
import time
from functools import partial
from typing import Any

from ..model import Bench, Goal, Measure, Workload
from ..processes import Worker
from ..systems import (
    Client,
    DiskCache,
    Group,
    ManagerDict,
    Redis,
    SharedObject,
    System,
    UltraDict,
    open_groups,
)
from .fill import TOGETHER, object_of

KEYS = 100_000
TIMES = 3


class Join(Workload):
    name = "join"
    title = "join with 100,000 keys"
    unit = "ms"
    goals = (Goal(against="Manager: dict", must=1.5, aim=1.0),)
    rounds = 5
    notes = (
        "memsync: `start()`, after which the object is in the process and stays up to date. "
        "Manager: `copy()` of a proxy that is connected. Redis: `HGETALL`. UltraDict and "
        "diskcache: a copy of all keys, the object opened before.",
    )

    def open(self, bench: Bench) -> list[Measure]:
        others: list[System] = [ManagerDict(), Redis(), UltraDict(), DiskCache()]
        groups = open_groups(bench, [SharedObject(), *others], 1)
        for group in groups:
            group.workers[0].run(fill_all, bench.count(KEYS))
        return [partial(measure, bench, group, idle_worker(bench, group)) for group in groups]


def idle_worker(bench: Bench, group: Group) -> Worker:
    """A process that has not joined yet."""
    settings: dict[str, Any] = {"method": group.method, "path": group.system.path}
    settings["environment"] = group.system.environment()
    worker = Worker(_itself, group.system, **settings)
    bench.stack.callback(worker.close)
    worker.result()
    return worker


def _itself(system: System) -> System:
    return system


def measure(bench: Bench, group: Group, worker: Worker) -> dict[str, float]:
    return {group.system.name: worker.run(join, bench.count(KEYS), bench.count(TIMES))}


def fill_all(client: Client, keys: int) -> None:
    for first in range(0, keys, TOGETHER):
        client.fill(object_of(first, first + TOGETHER))


def join(system: System, keys: int, times: int) -> float:
    """Milliseconds until the object is here, of several times."""
    return statistics.median(join_once(system, keys) for _ in range(times))


def join_once(system: System, keys: int) -> float:
    begin = time.perf_counter()
    client = system.connect(0)
    if system.kind != "memsync":  # connecting to the others is not the point
        begin = time.perf_counter()
    found = client.copy()
    taken = time.perf_counter() - begin
    if len(found) < keys:
        raise AssertionError(f"{len(found)} keys of {keys} are here")
    client.close()
    return taken * 1e3
