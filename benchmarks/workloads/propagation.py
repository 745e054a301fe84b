"""How long a write in an idle group takes to a process that waits for changes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Client as connect_to
from multiprocessing.connection import Connection, Listener
from typing import Any

from ..model import Bench, Goal, Measure, Workload
from ..processes import Worker
from ..systems import Group, Redis, SharedObject, open_groups
from ..systems.redis_server import RedisClient
from ..systems.shared_object import Handle

WRITES = 30
PAUSE = 0.04  # seconds before each write: everybody has fallen asleep
LAST = -1

now = time.monotonic  # all processes share this clock


class Propagation(Workload):
    name = "propagation"
    title = "propagation in an idle group, to a waiting process"
    unit = "us"
    goals = (
        Goal(against="Redis", must=1.5),
        Goal(against="connection round trip", aim=2.0),
    )
    rounds = 7
    notes = (
        "From the call that writes to the return of `next()` in another process. memsync: "
        "`patch` and `changes()`, both in clients. Redis: `PUBLISH` and `listen()`. The "
        "connection is a `multiprocessing.connection`: there and back.",
    )

    def open(self, bench: Bench) -> list[Measure]:
        groups = open_groups(bench, [SharedObject(), Redis()], 2)
        address = str(bench.folder / "c")
        echo = Worker(Listener, address)
        bench.stack.callback(echo.close)
        echo.result()
        echo.begin(answer)
        sender = Worker(connect_to, address)
        bench.stack.callback(sender.close)
        sender.result()
        return [
            *(partial(measure, bench, group) for group in groups),
            partial(measure_connection, bench, sender),
        ]


def measure(bench: Bench, group: Group) -> dict[str, float]:
    writer, reader = group.workers
    is_redis = group.system.name == "Redis"
    reader.run(subscribe if is_redis else watch)
    reader.begin(note_arrivals)
    send = publish if is_redis else set_value
    sent = writer.run(note_departures, send, bench.count(WRITES, 5))
    arrived = reader.result()
    # A reader that the machine keeps waiting gets the newer of two values only.
    seconds = [arrived[value] - at for value, at in sent.items() if value in arrived]
    return {group.system.name: statistics.median(seconds) * 1e6}


def note_departures(client: Any, send: Callable[[Any, int], None], times: int) -> dict[int, float]:
    """Send numbers; returns when each was sent."""
    sent = {}
    for value in range(1, times + 1):
        time.sleep(PAUSE)
        sent[value] = now()
        send(client, value)
    time.sleep(PAUSE)
    send(client, LAST)
    return sent


def note_arrivals(client: Any) -> dict[int, float]:
    """When each number has arrived."""
    arrived = {}
    for value in client.values:
        arrived[value] = now()
        if value == LAST:
            return arrived
    raise AssertionError("the last number has not arrived")


def set_value(client: Handle, value: int) -> None:
    client.mem.patch({"$set": {"n": value}})


def watch(client: Any) -> None:
    client.values = (value for value, _ in client.mem.changes("n"))


def publish(client: RedisClient, value: int) -> None:
    client.redis.publish("numbers", value)


def subscribe(client: Any) -> None:
    pubsub = client.redis.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("numbers")
    pubsub.get_message(timeout=5)  # the answer to the subscription
    client.values = _numbers(pubsub)


def _numbers(pubsub: Any) -> Iterator[int]:
    with pubsub:
        for message in pubsub.listen():
            yield int(message["data"])


def answer(listener: Listener) -> None:
    connection = listener.accept()
    while True:
        connection.send(connection.recv())


def measure_connection(bench: Bench, sender: Worker) -> dict[str, float]:
    seconds = sender.run(round_trips, bench.count(WRITES, 5))
    return {"connection round trip": statistics.median(seconds) * 1e6}


def round_trips(connection: Connection, times: int) -> list[float]:
    taken = []
    for value in range(times):
        time.sleep(PAUSE)
        begin = now()
        connection.send(value)
        connection.recv()
        taken.append(now() - begin)
    return taken
