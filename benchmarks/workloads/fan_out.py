"""One process writes without waiting, and eight others get each write."""

from __future__ import annotations

import time
from functools import partial

from ..model import Bench, Goal, Measure, Workload
from ..processes import run_all
from ..systems import Group, PySyncObj, Redis, SharedObject, open_groups
from ..systems.base import until_seen

RECEIVERS = 8
WRITES = {"memsync": 6000, "Redis": 15_000, "PySyncObj": 250}


class FanOut(Workload):
    name = "fan-out"
    title = "one pipelined writer, delivered to 8"
    unit = "deliveries/s"
    higher_is_better = True
    goals = (Goal(must=250_000), Goal(against="Redis", aim=1.0))
    notes = (
        "Until the last of the 8 has the last write. memsync: the host and 7 clients beside the "
        "writer. Redis: `PUBLISH` in pipelines of 1,000, to 8 subscribers of redis-py.",
    )

    def open(self, bench: Bench) -> list[Measure]:
        groups = []
        for system in (SharedObject(), Redis(), PySyncObj()):
            size = RECEIVERS + 1 if system.name == "Redis" else RECEIVERS
            groups += open_groups(bench, [system], size)
        for group in groups:
            group.follow(group.workers[1:])
        return [partial(measure, bench, group) for group in groups]


def measure(bench: Bench, group: Group) -> dict[str, float]:
    name = group.system.name
    times = bench.count(WRITES[group.system.kind])
    writer, *receivers = group.workers
    if name != "Redis":
        receivers.append(group.server)
    seen = run_all(receivers, "seen")
    begin = time.perf_counter()
    writer.begin("publish_pipelined", times)
    for receiver, before in zip(receivers, seen, strict=True):
        receiver.begin(until_seen, before + times)
    for each in (writer, *receivers):
        each.result()
    seconds = time.perf_counter() - begin
    return {name: RECEIVERS * times / seconds}
