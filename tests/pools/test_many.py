"""Many objects in each worker, and many threads on one handle."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.testing import Cluster, until

pytestmark = pytest.mark.process

OBJECTS = 20
THREADS = 32
TASKS = 10


def write_all(handles: list[MemSync[Any]]) -> tuple[int, int, int]:
    """A task that writes into each object; returns its pid and what the worker needs for it."""
    for mem in handles:
        mem.patch({"$inc": {"n": 1}})
    descriptors = len(list(Path("/proc/self/fd").glob("*")))
    return os.getpid(), threading.active_count(), descriptors


def work_in_pool(mem: MemSync[Any], method: str) -> list[tuple[int, int, int]]:
    """Tasks that bring a handle of each object; the parent stays the host of all."""
    handles = [MemSync(f"object-{number}", {"n": 0}) for number in range(OBJECTS)]
    for each in handles:
        each.start()
    with ProcessPoolExecutor(2, get_context(method)) as executor:
        found = list(executor.map(write_all, [handles] * TASKS))
    until(lambda: not any(each.has_peers() for each in handles), 5, "a worker did not leave")
    assert [each.data for each in handles] == [{"n": TASKS}] * OBJECTS
    found.append(write_all(handles))
    for each in handles:
        each.stop()
    return found


def usage(mem: MemSync[Any]) -> tuple[int, int]:
    """The threads and the descriptors of this process."""
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize(
    "method", ["fork", *(pytest.param(m, marks=pytest.mark.slow) for m in ("spawn", "forkserver"))]
)
def test_twenty_objects_in_each_worker(cluster: Cluster, method: str) -> None:
    """Each object costs a process three threads and eight descriptors at most."""
    parent = cluster.peer({})
    before = parent.run(usage)
    found = parent.run(work_in_pool, method)
    assert len({pid for pid, _, _ in found}) <= 3
    assert max(threads for _, threads, _ in found) <= before[0] + 3 * OBJECTS + 5
    assert max(descriptors for _, _, descriptors in found) <= before[1] + 8 * OBJECTS + 10
    until(lambda: parent.run(usage)[0] <= before[0])  # a handshake's thread may just be ending
    until(lambda: parent.run(usage)[1] <= before[1] + 3)  # multiprocessing keeps pipes


def write_in_threads(mem: MemSync[Any], times: int) -> list[int]:
    """32 threads that write and read their own writes through one handle, in three ways."""

    def write(number: int) -> int:
        for _ in range(times):
            mem.patch({"$inc": {"n": 1, f"t{number}": 1}})
            mem.submit({"$inc": {"n": 1}}).result(30)
            mem.transact(lambda draft: draft.update(claimed=draft["claimed"] + 1))
        return int(mem.data[f"t{number}"])

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(write, range(THREADS)))


@pytest.mark.parametrize("role", ["host", "client"])
def test_32_threads_on_one_handle(cluster: Cluster, role: str) -> None:
    """All writes count once; a client's threads share one connection, also to the next host."""
    host, client, other = cluster.start(3, {"n": 0, "claimed": 0})
    writer = host if role == "host" else client
    times = 3
    ticket = writer.begin(write_in_threads, times)
    if role == "client":
        client.run(lambda mem: mem.wait_for(lambda data: data["n"] > 20) and None)
        host.kill()
    assert writer.result(ticket) == [times] * THREADS
    seen = cluster.settled()
    assert seen["n"] == 2 * times * THREADS
    assert seen["claimed"] == times * THREADS
    assert cluster.host().status()["host"]["connections"] == len(cluster.active) - 1
    assert other.alive
