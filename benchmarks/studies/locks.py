"""Named locks: what they cost beside a write, beside `Manager().Lock()`, and while they wait.

Run it: python -m benchmarks.studies.locks
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.managers import SyncManager
from typing import Any

from memsync import MemSync, NotStartedError
from memsync.testing import Cluster, Peer, until

CONTENDERS = 4
TURNS = 200  # of each contender
WAITERS = 20
ROUNDS = 3
NAME = "k"


def time_of_writes(mem: MemSync[Any], times: int) -> float:
    """Microseconds of one acknowledged write."""
    begin = time.perf_counter()
    for _ in range(times):
        mem.patch({"$inc": {"n": 1}})
    return (time.perf_counter() - begin) / times * 1e6


def time_of_turns(mem: MemSync[Any], times: int) -> float:
    """Microseconds of one acquire with its release, of a free lock."""
    lock = mem.lock(NAME)
    begin = time.perf_counter()
    for _ in range(times):
        lock.acquire()
        lock.release()
    return (time.perf_counter() - begin) / times * 1e6


def take_turns(mem: MemSync[Any], times: int) -> None:
    """Take turns with all who do the same."""
    lock = mem.lock(NAME)
    mem.patch({"$inc": {"ready": 1}})
    mem.wait_for({"ready": {"$gte": CONTENDERS}})
    for _ in range(times):
        with lock:
            pass


def take_turns_with(lock: Any, barrier: Any, times: int) -> None:
    barrier.wait()
    for _ in range(times):
        with lock:
            pass


def contended(cluster: Cluster, host: Peer) -> float:
    """Turns in a second of contenders in processes of their own."""
    host.patch({"$set": {"ready": 0}})
    peers = cluster.start(CONTENDERS)
    tickets = [peer.begin(take_turns, TURNS) for peer in peers]
    host.run(lambda mem: mem.wait_for({"ready": CONTENDERS}))
    begin = time.perf_counter()
    for peer, ticket in zip(peers, tickets, strict=True):
        peer.result(ticket, 60)
    seconds = time.perf_counter() - begin
    for peer in peers:
        peer.kill()
    return CONTENDERS * TURNS / seconds


def contended_manager() -> float:
    """The same with a lock of `multiprocessing.Manager`."""
    context = get_context("forkserver")
    with context.Manager() as manager:
        assert isinstance(manager, SyncManager)
        lock, barrier = manager.Lock(), manager.Barrier(CONTENDERS + 1)
        arguments = (lock, barrier, TURNS)
        workers = [
            context.Process(target=take_turns_with, args=arguments) for _ in range(CONTENDERS)
        ]
        for worker in workers:
            worker.start()
        barrier.wait()
        begin = time.perf_counter()
        for worker in workers:
            worker.join()
        return CONTENDERS * TURNS / (time.perf_counter() - begin)


def cost_of_waiting(host: Peer, seconds: float) -> float:
    """Milliseconds of CPU in a second of a process with waiting threads, all of them together."""

    def hold(mem: MemSync[Any]) -> None:
        mem.lock(NAME).acquire()

    def wait() -> None:
        with suppress(NotStartedError):
            mem.lock(NAME, timeout=3600).acquire()

    with MemSync("obj") as mem:
        host.run(hold)
        threads = [threading.Thread(target=wait) for _ in range(WAITERS)]
        for thread in threads:
            thread.start()
        until(lambda: len(mem.locks()[NAME]["queue"]) == WAITERS)
        before = time.process_time()
        time.sleep(seconds)
        cost = (time.process_time() - before) / seconds * 1e3
        mem.stop()
        for thread in threads:
            thread.join()
    return cost


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.studies.locks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the waiting (default 60)")
    seconds = parser.parse_args().seconds
    with Cluster() as cluster:
        host = cluster.start(1, {"n": 0, "ready": 0})[0]
        with MemSync("obj") as mem:
            rounds = [(time_of_writes(mem, 500), time_of_turns(mem, 500)) for _ in range(ROUNDS)]
        writes, turns = map(statistics.median, zip(*rounds, strict=True))
        print(f"an acknowledged write of a client: {writes:.0f} us")
        print(f"acquire and release of a free lock: {turns:.0f} us, {turns / writes:.2f} writes")
        pairs = [(contended(cluster, host), contended_manager()) for _ in range(ROUNDS)]
        ours, theirs = map(statistics.median, zip(*pairs, strict=True))
        print(
            f"{CONTENDERS} contenders: {ours:.0f} turns/s; Manager().Lock(): {theirs:.0f} turns/s"
        )
        print(
            f"{WAITERS} waiting threads for {seconds:g} s: {cost_of_waiting(host, seconds):.2f} ms "
            "of CPU in a second, with their process"
        )


if __name__ == "__main__":
    main()
