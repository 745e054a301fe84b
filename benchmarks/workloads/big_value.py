"""One value of 1 MB, written again and again, with three more replicas."""

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
    open_groups,
)
from .increment_with_replicas import REPLICAS

SIZE = 1_000_000
WRITES = 40


class BigValue(Workload):
    name = "big-value"
    title = "acknowledged write of a value of 1 MB, 3 more replicas"
    unit = "ms"
    goals = (Goal(against="Redis", must=1.0),)
    rounds = 7
    notes = (
        "Redis: `SET` and `PUBLISH` of the value, in one round trip, with three subscribers. "
        "Manager, UltraDict and diskcache replicate nothing.",
    )

    def open(self, bench: Bench) -> list[Measure]:
        others: list[System] = [Redis(), ManagerDict(), UltraDict(), DiskCache(), PySyncObj()]
        groups = open_groups(bench, [SharedObject(), *others], 1 + REPLICAS)
        for group in groups:
            group.follow(group.workers[1:])
        return [partial(measure, bench, group) for group in groups]


def measure(bench: Bench, group: Group) -> dict[str, float]:
    times = bench.count(WRITES)
    if group.system.name == "PySyncObj":
        times = max(times // 8, 2)
    return {group.system.name: group.workers[0].run(write_texts, times)}


def write_texts(client: Client, times: int) -> float:
    """Milliseconds of one write; no two values in a row are equal."""
    texts = [letter * SIZE for letter in "ab"]
    begin = time.perf_counter()
    for number in range(times):
        client.write_text(texts[number % 2])
    return (time.perf_counter() - begin) / times * 1e3
