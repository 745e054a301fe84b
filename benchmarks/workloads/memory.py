"""How much memory 100,000 keys take in a host and in a replica."""

from __future__ import annotations

import json
import time
from functools import partial

from ..accounting import ON_LINUX, pss_bytes
from ..model import Bench, Goal, Measure, Skipped, Workload
from ..processes import Worker
from ..systems import Group, ManagerDict, Redis, SharedObject, System, installed
from .fill import object_of
from .join import fill_all

KEYS = 100_000
SETTLING = 1.0  # seconds


class Memory(Workload):
    name = "memory"
    title = "memory of 100,000 keys"
    unit = "MB"
    goals = (
        Goal("memsync replica", "plain object", must=1.3, aim=1.1),
        Goal("memsync host", "plain object", must=2.0, aim=1.3),
    )
    rounds = 3
    warm_up = False
    notes = (
        "By how much the proportional set size (PSS) of the process grows through the object; the "
        "process is in the group before. The host got the keys by `$set` of 1,000 each. The "
        "replica joined afterwards, and is compared with a replica of an empty object. The plain "
        "object is read from JSON.",
    )

    def open(self, bench: Bench) -> list[Measure]:
        if not ON_LINUX:
            raise Skipped("only Linux reports the memory of another process")
        shared = installed(bench, [SharedObject()])
        servers = installed(bench, [ManagerDict(), Redis()])
        return [
            partial(measure_plain, bench),
            *(partial(measure_shared, bench, system) for system in shared),
            *(partial(measure_server, bench, system) for system in servers),
        ]


def measure_plain(bench: Bench) -> dict[str, float]:
    worker = Worker(dict, method="spawn")
    try:
        worker.result()
        worker.run(build, "{}")  # it imports what this function needs
        before = pss_bytes(worker.pid)
        worker.run(build, json.dumps(object_of(0, bench.count(KEYS))))
        return {"plain object": megabytes(pss_bytes(worker.pid) - before)}
    finally:
        worker.close()


def build(kept: dict[str, object], text: str) -> None:
    kept["object"] = json.loads(text)


def measure_shared(bench: Bench, system: System) -> dict[str, float]:
    name, comma, base = system.name.partition(",")
    with bench.part() as part:
        group = Group(system, 2, bench.new_folder(), part.stack, method="spawn")
        writer, empty = group.workers
        time.sleep(SETTLING)
        host_before, replica_before = pss_bytes(group.server.pid), pss_bytes(empty.pid)
        empty.close()
        group.workers.remove(empty)
        writer.run(fill_all, bench.count(KEYS))
        replica = group.add()
        time.sleep(SETTLING)
        return {
            f"{name} replica{comma}{base}": megabytes(pss_bytes(replica.pid) - replica_before),
            f"{name} host{comma}{base}": megabytes(pss_bytes(group.server.pid) - host_before),
            f"{name} writer{comma}{base}": megabytes(pss_bytes(writer.pid) - replica_before),
        }


def measure_server(bench: Bench, system: System) -> dict[str, float]:
    with bench.part() as part:
        group = Group(system, 1, bench.new_folder(), part.stack, method="spawn")
        servers = [pid for pid in group.pids() if pid != group.workers[0].pid]
        before = sum(map(pss_bytes, servers))
        group.workers[0].run(fill_all, bench.count(KEYS))
        time.sleep(SETTLING)
        return {f"{system.name}, server": megabytes(sum(map(pss_bytes, servers)) - before)}


def megabytes(size: int) -> float:
    return size / 1e6
