"""Pools of processes: one peer in each worker, however many tasks bring a handle."""

from __future__ import annotations

import gc
import os
import resource
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from memsync import MemSync
from memsync.testing import Cluster, until

pytestmark = pytest.mark.process

METHODS = ("fork", "spawn", "forkserver")
TASKS = 40


class Seen(NamedTuple):
    """What a task sees of its worker."""

    pid: int
    peer: str
    threads: int
    descriptors: int


kept: list[MemSync[Any]] = []


def work(mem: MemSync[Any], number: int) -> Seen:
    """A task that writes; every other one keeps its handle."""
    mem.patch({"$inc": {"n": 1}})
    if number % 2:
        kept.append(mem)
    return Seen(os.getpid(), mem.id, threading.active_count(), len(os.listdir("/proc/self/fd")))


def work_in_pair(pair: tuple[MemSync[Any], int]) -> Seen:
    return work(*pair)


def by_submit(
    mem: MemSync[Any], method: str, limit: int | None, workers: int = 2, tasks: int = TASKS
) -> list[Seen]:
    context = get_context(method)
    with ProcessPoolExecutor(workers, context, initializer=lower, initargs=(limit,)) as executor:
        futures = [executor.submit(work, mem, number) for number in range(tasks)]
        return [future.result(60) for future in futures]


def by_chunks(mem: MemSync[Any], method: str, limit: int | None) -> list[Seen]:
    context = get_context(method)
    with ProcessPoolExecutor(2, context, initializer=lower, initargs=(limit,)) as executor:
        return list(executor.map(work, [mem] * TASKS, range(TASKS), chunksize=10))


def by_pool(mem: MemSync[Any], method: str, limit: int | None) -> list[Seen]:
    with get_context(method).Pool(2, initializer=lower, initargs=(limit,)) as pool:
        results = pool.map(work_in_pair, [(mem, number) for number in range(TASKS)], chunksize=3)
        pool.close()
        pool.join()
    return results


def lower(limit: int | None) -> None:
    """A worker's initializer: it has that many descriptors at most."""
    if limit is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


@pytest.mark.parametrize("way", [by_submit, by_chunks, by_pool])
@pytest.mark.parametrize("method", METHODS)
def test_the_tasks_of_a_worker_share_one_peer(
    cluster: Cluster, method: str, way: Callable[..., list[Seen]]
) -> None:
    host, parent = cluster.start(2, {"n": 0})
    results = parent.result(parent.begin(way, method, None), 60)
    assert len(results) == TASKS
    assert len({seen.peer for seen in results}) == len({seen.pid for seen in results}) <= 2
    assert max(seen.threads for seen in results) <= 12
    assert max(seen.descriptors for seen in results) <= 60
    until(lambda: host.status()["peers"] == 1, message="the workers did not leave")
    assert cluster.settled([host, parent]) == {"n": TASKS}


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_with_few_descriptors_does_all_tasks(cluster: Cluster, method: str) -> None:
    host, parent = cluster.start(2, {"n": 0})
    results = parent.result(parent.begin(by_submit, method, 64), 60)
    assert len(results) == TASKS
    assert cluster.settled([host, parent]) == {"n": TASKS}


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_with_256_descriptors_does_260_tasks(cluster: Cluster, method: str) -> None:
    """One worker, and every other task keeps its handle."""
    host, parent = cluster.start(2, {"n": 0})
    results = parent.result(parent.begin(by_submit, method, 256, 1, 260), 60)
    assert len(results) == 260
    assert len({(seen.pid, seen.peer) for seen in results}) == 1
    assert max(seen.descriptors for seen in results) <= 60
    assert cluster.settled([host, parent]) == {"n": 260}


def ids_of(handles: Iterable[MemSync[Any]]) -> set[str]:
    return {mem.id for mem in handles}


def bring_back(mem: MemSync[Any]) -> tuple[MemSync[Any], str]:
    return mem, mem.id


def test_a_handle_that_comes_back_from_a_worker_shares_the_first_peer(cluster: Cluster) -> None:
    def back_and_forth(mem: MemSync[Any]) -> bool:
        with ProcessPoolExecutor(1, get_context("spawn")) as executor:
            again, in_worker = executor.submit(bring_back, mem).result(60)
            third, _ = executor.submit(bring_back, again).result(60)
            same = ids_of([mem, again, third]) == {mem.id} != {in_worker}
            again.stop()
            mem.patch({"$inc": {"n": 1}})
            return same

    _, parent = cluster.start(2, {"n": 0})
    assert parent.result(parent.begin(back_and_forth), 60)
    assert cluster.settled() == {"n": 1}


def test_two_handles_of_one_object_share_a_peer_in_a_worker(cluster: Cluster) -> None:
    def two(mem: MemSync[Any]) -> set[str]:
        with MemSync(mem.name) as other, ProcessPoolExecutor(1, get_context("spawn")) as executor:
            again = MemSync(mem.name)
            results = executor.map(work, [other, again, other, again], range(4))
            return {seen.peer for seen in results}

    _, parent = cluster.start(2, {"n": 0})
    assert len(parent.result(parent.begin(two), 60)) == 1


def test_what_a_worker_inherits_and_what_it_gets_share_a_peer(cluster: Cluster) -> None:
    def both(mem: MemSync[Any]) -> set[frozenset[str]]:
        kept.append(mem)
        with ProcessPoolExecutor(1, get_context("fork")) as executor:
            return {executor.submit(ids_with_inherited, mem).result(60) for _ in range(3)}

    _, parent = cluster.start(2, {"n": 0})
    (ids,) = parent.result(parent.begin(both), 60)
    assert len(ids) == 1


def ids_with_inherited(mem: MemSync[Any]) -> frozenset[str]:
    return frozenset(ids_of([*kept, mem]))


def test_the_peer_of_a_worker_leaves_some_seconds_after_its_last_handle(
    cluster: Cluster, folder: Path
) -> None:
    _, parent = cluster.start(2, {"n": 0})

    def run(mem: MemSync[Any]) -> tuple[list[str], list[str]]:
        with ProcessPoolExecutor(1, get_context("spawn")) as executor:
            before = ids_of_others(mem)
            seen = executor.submit(work, mem, 0).result(60)
            assert seen.peer not in before
            until(lambda: ids_of_others(mem) == before, message="the peer of the worker stays")
            return executor.submit(threads_and_locks).result(60)

    threads, locks = parent.result(parent.begin(run), 60)
    assert not [name for name in threads if name.startswith("memsync")]
    assert not [name for name in locks if str(folder) in name]


def ids_of_others(mem: MemSync[Any]) -> set[str]:
    return {peer["id"] for peer in mem.peers}


def threads_and_locks() -> tuple[list[str], list[str]]:
    gc.collect()
    until(lambda: not [t for t in threading.enumerate() if t.name == "memsync-leave"])
    files = [os.readlink(entry) for entry in Path("/proc/self/fd").glob("*") if entry.exists()]
    return [thread.name for thread in threading.enumerate()], files
