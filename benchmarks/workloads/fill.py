"""Write 100,000 keys, 1,000 at a time, waiting for each thousand."""

from __future__ import annotations

import time
from functools import partial

from ..model import Bench, Goal, Measure, Workload
from ..systems import (
    Client,
    DiskCache,
    Group,
    ManagerDict,
    PySyncObj,
    Redis,
    SharedObject,
    System,
    UltraDict,
    installed,
)

KEYS = 100_000
TOGETHER = 1000


class Fill(Workload):
    name = "fill"
    title = "fill 100,000 keys, 1,000 at a time"
    unit = "ms"
    goals = (Goal(against="Redis", must=1.0), Goal(against="Manager: dict", aim=1.0))
    rounds = 3
    warm_up = False  # each round starts a group of its own
    notes = (
        "memsync: one acknowledged `$set` of 1,000 keys after the other, which then are in both "
        "processes. Redis: `HSET` of 1,000. Manager, UltraDict: `update` with 1,000. diskcache: "
        "1,000 in a transaction.",
    )

    def open(self, bench: Bench) -> list[Measure]:
        others: list[System] = [ManagerDict(), Redis(), UltraDict(), DiskCache(), PySyncObj()]
        return [
            partial(measure, bench, system)
            for system in installed(bench, [SharedObject(), *others])
        ]


def measure(bench: Bench, system: System) -> dict[str, float]:
    with bench.part() as part:
        group = Group(system, 1, bench.new_folder(), part.stack)
        return {system.name: group.workers[0].run(fill, bench.count(KEYS))}


def fill(client: Client, keys: int) -> float:
    """Milliseconds until the last write is acknowledged."""
    parts = [object_of(first, first + TOGETHER) for first in range(0, keys, TOGETHER)]
    begin = time.perf_counter()
    for part in parts:
        client.fill(part)
    return (time.perf_counter() - begin) * 1e3


def object_of(first: int, last: int) -> dict[str, int]:
    """Keys of nine characters with whole numbers."""
    return {f"k{number:08}": number for number in range(first, last)}
