"""64 processes share the object, and one of them makes one acknowledged write after the other."""

from __future__ import annotations

from functools import partial

from ..model import Bench, Goal, Measure, Workload
from ..systems import Group, Redis, SharedObject, open_groups
from .increment import write

PEERS = 64
WRITES = 300


class ManyPeers(Workload):
    name = "peers-64"
    title = "64 peers, one waiting writer"
    unit = "us"
    goals = (Goal(against="Redis", must=1.0, aim=0.5),)
    rounds = 5
    notes = (
        "memsync: the host and 63 clients, of which one writes. Redis: `INCR` and `PUBLISH` of one "
        "process, and 64 processes that subscribe.",
    )

    def open(self, bench: Bench) -> list[Measure]:
        groups = open_groups(bench, [SharedObject()], PEERS - 1)
        groups += open_groups(bench, [Redis()], PEERS + 1)
        for group in groups:
            group.follow(group.workers[1:])
        return [partial(measure, bench, group) for group in groups]


def measure(bench: Bench, group: Group) -> dict[str, float]:
    return {group.system.name: group.workers[0].run(write, bench.count(WRITES))}
