"""The CPU time that one acknowledged write takes in all processes together."""

from __future__ import annotations

from functools import partial

from ..accounting import ON_LINUX, cpu_seconds
from ..model import Bench, Goal, Measure, Skipped, Workload
from ..systems import Group
from .increment import SLOW_WRITES, WRITES
from .increment_with_replicas import open_with_replicas


class CpuOfIncrement(Workload):
    name = "cpu-3"
    title = "CPU of an acknowledged write in all processes, 3 more replicas"
    unit = "us"
    goals = (Goal(against="Redis", must=0.8, aim=0.5),)
    rounds = 5
    notes = ("The processes and the notifications are those of `increment-3`.",)

    def open(self, bench: Bench) -> list[Measure]:
        if not ON_LINUX:
            raise Skipped("only Linux reports the CPU time of another process")
        return [partial(measure, bench, group) for group in open_with_replicas(bench)]


def measure(bench: Bench, group: Group) -> dict[str, float]:
    times = bench.count(SLOW_WRITES if group.system.name == "PySyncObj" else WRITES)
    pids = group.pids()
    before = cpu_seconds(pids)
    group.workers[0].run("write", times)
    return {group.system.name: (cpu_seconds(pids) - before) / times * 1e6}
