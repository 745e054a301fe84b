"""The worst single write within a minute, in an object of 1,000,000 keys."""

from __future__ import annotations

import time
from functools import partial
from itertools import count
from multiprocessing.connection import Client as connect_to
from multiprocessing.connection import Listener
from typing import Any

from ..model import Bench, Goal, Measure, Workload
from ..processes import Worker
from ..systems import Group, SharedObject, open_groups
from ..systems.shared_object import Handle
from .fill import object_of
from .propagation import answer

KEYS = 1_000_000
SECONDS = 20.0  # in one round; there are three


class Stall(Workload):
    name = "stall"
    title = "worst single write at 1,000,000 keys, in 60 s"
    unit = "ms"
    goals = (Goal(must=10.0, aim=5.0),)
    rounds = 3
    warm_up = False
    worst = True
    notes = (
        "A client writes without a pause, by turns `$inc` of a counter and `$set` of one of the "
        "1,000,000 keys. The worst round trip of a bare `multiprocessing.connection` in a third "
        "of the time shows how much of it the machine adds.",
    )

    def open(self, bench: Bench) -> list[Measure]:
        keys = bench.count(KEYS)
        data = {"n": 0, **object_of(0, keys)}
        groups = open_groups(bench, [SharedObject()], 1, data=data)
        address = str(bench.folder / "c")
        echo = Worker(Listener, address)
        bench.stack.callback(echo.close)
        echo.result()
        echo.begin(answer)
        sender = Worker(connect_to, address)
        bench.stack.callback(sender.close)
        sender.result()
        return [
            partial(measure_connection, sender, bench.seconds(SECONDS / 3)),
            *(partial(measure, group, keys, bench.seconds(SECONDS)) for group in groups),
        ]


def measure(group: Group, keys: int, seconds: float) -> dict[str, float]:
    taken = group.workers[0].run(write_for, keys, seconds)
    name, comma, base = group.system.name.partition(",")
    return {
        group.system.name: taken[-1],
        f"{name} without 1 of 1,000{comma}{base}": taken[-1 - len(taken) // 1000],
    }


def write_for(client: Handle, keys: int, seconds: float) -> list[float]:
    """How long each write took, in milliseconds, the longest last."""
    patch = client.mem.patch
    updates = (
        {"$inc": {"n": 1}} if n % 2 else {"$set": {f"k{n * 7 % keys:08}": -n}} for n in count()
    )
    return sorted(timed(lambda: patch(next(updates)), seconds))


def measure_connection(sender: Worker, seconds: float) -> dict[str, float]:
    return {"connection round trip": sender.run(round_trips_for, seconds)}


def round_trips_for(connection: Any, seconds: float) -> float:
    def round_trip() -> None:
        connection.send(1)
        connection.recv()

    return max(timed(round_trip, seconds))


def timed(function: Any, seconds: float) -> list[float]:
    """How long each call takes within a time, in milliseconds."""
    taken = []
    now = time.perf_counter
    end = (begin := now()) + seconds
    while begin < end:
        function()
        after = now()
        taken.append((after - begin) * 1e3)
        begin = after
    return taken
