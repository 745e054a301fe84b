"""The host is killed: how long until a survivor has the next write acknowledged."""

from __future__ import annotations

import statistics
import time
from functools import partial

from ..model import Bench, Goal, Measure, Workload
from ..processes import Worker
from ..systems import Group, SharedObject, open_groups
from ..systems.shared_object import Handle

CLIENTS = 3
KILLS = 4  # in one round
BEFORE = 0.2  # seconds of writing before the host is killed
PATIENCE = 20.0


class HostKilled(Workload):
    name = "host-killed"
    title = "host killed: next acknowledged write"
    unit = "ms"
    goals = (Goal(must=15.0, aim=8.0),)
    rounds = 5
    warm_up = False
    notes = (
        "From SIGKILL to the first write that one of the three survivors has acknowledged. All "
        "four write without a pause. Median of the kills. The server of a manager or of Redis "
        "takes the data with it; a file (diskcache) and shared memory (UltraDict) have no server.",
    )

    def open(self, bench: Bench) -> list[Measure]:
        groups = open_groups(bench, [SharedObject()], CLIENTS)
        return [partial(measure, bench, group) for group in groups]


def measure(bench: Bench, group: Group) -> dict[str, float]:
    return {group.system.name: statistics.median(kill(group) for _ in range(bench.count(KILLS, 2)))}


def kill(group: Group) -> float:
    """Kill the host, and add a peer for it; returns milliseconds."""
    everybody = [group.server, *group.workers]
    (host,) = [worker for worker in everybody if worker.run(is_host)]
    survivors = [worker for worker in everybody if worker is not host]
    for worker in everybody:
        worker.begin(write_until_moved)
    time.sleep(BEFORE)
    killed_at = time.monotonic()
    host.kill()
    first = min(worker.result() for worker in survivors)
    replace(group, host)
    return float(first - killed_at) * 1e3


def replace(group: Group, dead: Worker) -> None:
    if dead is group.server:
        group.server = group.workers.pop(0)
    else:
        group.workers.remove(dead)
    group.add()


def is_host(client: Handle) -> bool:
    return bool(client.mem.get_status()["status"] == "host")


def write_until_moved(client: Handle) -> float:
    """When the first write was acknowledged by the next host."""
    mem = client.mem
    epoch, deadline = mem.epoch, time.monotonic() + PATIENCE
    while mem.epoch == epoch:
        if time.monotonic() > deadline:
            raise TimeoutError("no other host has come")
        mem.patch({"$inc": {"n": 1}})
    return time.monotonic()
