"""Events of memsync: what an emit costs beside a write, and how many reach 8 peers in a second.

Run it: python -m benchmarks.studies.events
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from memsync import MemSync
from memsync.testing import Cluster, Peer, until

PEERS = 8  # beside the emitter
ROUNDS = 5
EMITS = 300
PIPELINED = 5000
TRIPS = 100

_heard = [0]
_missed = [0]


def listen(mem: MemSync[Any]) -> None:
    def count(number: int) -> None:
        _heard[0] += 1

    def miss(number: int) -> None:
        _missed[0] += number

    mem.events.on("e", count)
    mem.on("gap", miss)


def heard(mem: MemSync[Any]) -> int:
    """The events that have come, or were counted by a gap."""
    return _heard[0] + _missed[0]


def missed(mem: MemSync[Any]) -> int:
    return _missed[0]


def time_of_emits(mem: MemSync[Any], times: int) -> float:
    """Microseconds of one acknowledged event."""
    begin = time.perf_counter()
    for number in range(times):
        mem.events.emit("e", number)
    return (time.perf_counter() - begin) / times * 1e6


def time_of_writes(mem: MemSync[Any], times: int) -> float:
    """Microseconds of one acknowledged increment."""
    begin = time.perf_counter()
    for _ in range(times):
        mem.patch({"$inc": {"n": 1}})
    return (time.perf_counter() - begin) / times * 1e6


def emit_pipelined(mem: MemSync[Any], times: int) -> None:
    for number in range(times):
        mem.submit([], emit=("e", number))


def answer(mem: MemSync[Any], since: int, times: int) -> None:
    """Answer each ``ask`` by a ``reply``."""
    with mem.events.stream("ask", since=since) as stream:
        for _ in range(times):
            next(stream)
            mem.events.emit("reply")


def time_of_trips(mem: MemSync[Any], times: int) -> float:
    """Median of microseconds from an emit to the reply of another process."""
    trips = []
    with mem.events.stream("reply") as stream:
        for _ in range(times):
            begin = time.perf_counter()
            mem.events.emit("ask")
            next(stream)
            trips.append((time.perf_counter() - begin) * 1e6)
    return statistics.median(trips)


def answer_writes(mem: MemSync[Any], first: int, times: int) -> None:
    """Answer each value of ``ask`` by the same one of ``reply``."""
    for number in range(first, first + times):
        mem.wait_for({"ask": number})
        mem.patch({"$set": {"reply": number}})


def time_of_write_trips(mem: MemSync[Any], first: int, times: int) -> float:
    """Median of microseconds from a write to the one with which another process answers."""
    trips = []
    for number in range(first, first + times):
        begin = time.perf_counter()
        mem.patch({"$set": {"ask": number}})
        mem.wait_for({"reply": number})
        trips.append((time.perf_counter() - begin) * 1e6)
    return statistics.median(trips)


def write_on(mem: MemSync[Any], seconds: float) -> None:
    """Write all the time, so that pushes linger."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        mem.patch({"$inc": {"n": 1}})


def deliveries(emitter: Peer, others: list[Peer]) -> float:
    """Events that reach the others in a second."""
    before = [peer.run(heard) for peer in others]
    begin = time.perf_counter()
    emitter.run(emit_pipelined, PIPELINED)
    for peer, known in zip(others, before, strict=True):
        until(lambda p=peer, n=known: p.run(heard) >= n + PIPELINED, timeout=60)  # type: ignore[misc]
    return PIPELINED * len(others) / (time.perf_counter() - begin)


def main() -> None:
    figures: dict[str, list[float]] = {}

    def note(name: str, figure: float) -> None:
        figures.setdefault(name, []).append(figure)

    with Cluster("events") as cluster:
        peers = cluster.start(PEERS + 1, {"n": 0})
        emitter, others = peers[1], [peers[0], *peers[2:]]
        for peer in others:
            peer.run(listen)
        for _ in range(ROUNDS):
            note("emit, acknowledged: us", emitter.run(time_of_emits, EMITS))
            note("$inc, acknowledged: us", emitter.run(time_of_writes, EMITS))
            note(f"deliveries to {PEERS} peers: 1/s", deliveries(emitter, others))
        note("missed by slow peers, counted by gaps", sum(peer.run(missed) for peer in others))
    with Cluster("trips") as cluster:
        _, asker, replier, writer = cluster.start(4, {"n": 0})
        for number, busy in enumerate((False, True) * ROUNDS):
            writing = writer.begin(write_on, 3) if busy else None
            ticket = replier.begin(answer, asker.version, TRIPS)
            kind = ", while a third writes: us" if busy else ": us"
            note(f"emit to reply{kind}", asker.run(time_of_trips, TRIPS))
            replier.result(ticket)
            first = 1 + number * TRIPS
            ticket = replier.begin(answer_writes, first, TRIPS)
            note(f"write to reply{kind}", asker.run(time_of_write_trips, first, TRIPS))
            replier.result(ticket)
            if writing is not None:
                writer.result(writing)
            cluster.settled()
    for name, found in figures.items():
        print(f"{name} {statistics.median(found):.0f}  ({min(found):.0f} to {max(found):.0f})")


if __name__ == "__main__":
    from benchmarks.studies import events  # peers import it, so its functions share their counters

    events.main()
