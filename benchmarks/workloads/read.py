"""Read one value, again and again, in a process that does not host."""

from __future__ import annotations

import timeit
from functools import partial

from ..model import Bench, Goal, Measure, Workload
from ..systems import (
    Client,
    DiskCache,
    ManagerDict,
    PySyncObj,
    Redis,
    SharedObject,
    UltraDict,
    open_groups,
)
from ..systems.base import DATA, Group
from ..systems.shared_object import Handle

READS = 200_000  # of a plain dict; each system reads for about as long as its speed allows
SLOW_READS = 1000


class Read(Workload):
    name = "read"
    title = "read one value"
    unit = "us"
    goals = (
        Goal(against="dict", must=2.0, aim=1.3),
        Goal("memsync, in a function", "dict, in a function"),
    )
    rounds = 15
    notes = (
        "The statement alone is timed, in a bare loop, which is the harder comparison. `in a "
        "function` is what `def read(): return mem.data['k']` takes, the call included.",
    )

    def open(self, bench: Bench) -> list[Measure]:
        others = [ManagerDict(), UltraDict(), DiskCache(), Redis(), PySyncObj()]
        groups = open_groups(bench, [SharedObject(), *others], 1)
        return [partial(plain, bench), *(partial(shared, bench, group) for group in groups)]


def plain(bench: Bench) -> dict[str, float]:
    """A local dict, as the lower bound."""
    d, times = dict(DATA), bench.count(READS)
    names: dict[str, object] = {"d": d, "read": lambda: d["k"]}
    return {
        "dict": best("d['k']", names, times),
        "dict, in a function": best("read()", names, times),
    }


def shared(bench: Bench, group: Group) -> dict[str, float]:
    is_local = group.system.kind in ("memsync", "PySyncObj")
    times = bench.count(READS if is_local else SLOW_READS)
    values = {group.system.name: group.workers[0].run(read, times)}
    if group.system.kind == "memsync":
        values[f"{group.system.name}, in a function"] = group.workers[0].run(read_by_call, times)
    return values


def read(client: Client, times: int) -> float:
    statement, names = client.read_statement()
    return best(statement, names, times)


def read_by_call(client: Handle, times: int) -> float:
    mem = client.mem
    return best("read()", {"read": lambda: mem.data["k"]}, times)


def best(statement: str, names: dict[str, object], times: int) -> float:
    """Microseconds of one execution: the best of three, because only disturbances are longer."""
    setup = "; ".join(f"{name} = names[{name!r}]" for name in names)  # locals of the loop
    timer = timeit.Timer(statement, setup, globals={"names": names})
    return min(timer.repeat(3, times)) / times * 1e6
