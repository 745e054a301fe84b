"""The same as `increment`, with three more processes that take notice of each write."""

from __future__ import annotations

from functools import partial

from ..model import Bench, Goal, Measure, Workload
from ..systems import Group, open_groups
from .increment import measure, systems

REPLICAS = 3


class IncrementWithReplicas(Workload):
    name = "increment-3"
    title = "acknowledged write, 3 more replicas"
    unit = "us"
    goals = (
        Goal(against="Manager: dict", must=2.5, aim=1.0),
        Goal(against="Redis", must=0.5, aim=0.25),
    )
    rounds = 9
    notes = (
        "Redis: `INCR`, then `PUBLISH` of its result, to three subscribers; or both in a Lua "
        "script. The managers, UltraDict and diskcache replicate nothing and notify nobody: three "
        "idle processes.",
    )

    def open(self, bench: Bench) -> list[Measure]:
        return [partial(measure, bench, group) for group in open_with_replicas(bench)]


def open_with_replicas(bench: Bench) -> list[Group]:
    """Groups with one writer and three that follow it."""
    groups = open_groups(bench, systems(), 1 + REPLICAS)
    for group in groups:
        group.follow(group.workers[1:])
    return groups
