"""What eight processes cost that share an object and do nothing."""

from __future__ import annotations

import time
from functools import partial

from ..accounting import ON_LINUX, cpu_seconds
from ..model import Bench, Goal, Measure, Skipped, Workload
from ..systems import Group, ManagerDict, PySyncObj, Redis, SharedObject, System, open_groups

PEERS = 8
SETTLING = 3.0  # seconds after the start
MEASURED = 5.0


class Idle(Workload):
    name = "idle"
    title = "idle group of 8: CPU in all processes"
    unit = "ms/s"
    goals = (Goal(must=2.0, aim=1.0),)
    rounds = 3
    warm_up = False
    notes = ("All systems are idle at the same time. Redis: the server and 8 subscribers.",)

    def open(self, bench: Bench) -> list[Measure]:
        if not ON_LINUX:
            raise Skipped("only Linux reports the CPU time of another process")
        groups = open_groups(bench, [SharedObject(), PySyncObj()], PEERS - 1)
        others: list[System] = [Redis(), ManagerDict()]
        groups += open_groups(bench, others, PEERS)
        for group in groups:
            group.follow()
        time.sleep(bench.seconds(SETTLING))
        return [partial(measure, groups, bench.seconds(MEASURED))]


def measure(groups: list[Group], seconds: float) -> dict[str, float]:
    before = [cpu_seconds(group.pids()) for group in groups]
    begin = time.monotonic()
    time.sleep(seconds)
    after = [cpu_seconds(group.pids()) for group in groups]
    passed = time.monotonic() - begin
    return {
        group.system.name: (end - start) / passed * 1e3
        for group, start, end in zip(groups, before, after, strict=True)
    }
