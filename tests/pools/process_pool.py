"""A program with pools of two workers that share counters and jobs; one worker is killed in each.

``python -m tests.pools.process_pool WAY METHOD`` runs it. The group has three places for writers:
one of this process, and two of the workers. So each pool needs the places of the one before, and
the worker that replaces a killed one needs its place.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from typing import Any

from memsync import MemSync
from memsync.testing import until

from . import tasks
from .tasks import KILL, NAME, PLACES, begin_and_work, make_by_name, take, work

WORKERS = 2
TASKS = 12  # of each pool
FEW = 2  # of each pool where every task is a process
PATIENCE = 30.0  # seconds

Begin = tuple[Any, ...]
"""The initializer of a worker, or None, and its arguments."""


class Way:
    """How a pool is made and used."""

    def __init__(self, method: str, mem: MemSync[Any]) -> None:
        self.method = method
        self.mem = mem  # of this process
        self.context: Any = get_context(method if method != "loky" else None)

    def run(self, begin: Begin, given: MemSync[Any] | None, numbers: list[int]) -> None:
        """Run tasks, which bring a handle or none, in a pool that ends with them."""
        raise NotImplementedError


class ByPool(Way):
    """`multiprocessing.Pool`: it replaces a worker that dies, and loses the worker's task."""

    def run(self, begin: Begin, given: MemSync[Any] | None, numbers: list[int]) -> None:
        initializer, *arguments = begin
        killed = self.mem.snapshot("killed")
        with self.context.Pool(WORKERS, initializer, arguments) as pool:
            results = [pool.apply_async(work, (given, number)) for number in numbers]
            for number, result in zip(numbers, results, strict=True):
                if number != KILL:
                    result.get(PATIENCE)
            if KILL in numbers:  # join() would wait for the lost task; the end kills workers
                self.mem.wait_for({"killed": killed + 1}, timeout=PATIENCE)
            else:
                pool.close()
                pool.join()


class ByExecutor(Way):
    """`ProcessPoolExecutor`: it breaks when a worker dies, and a new one is made."""

    def run(self, begin: Begin, given: MemSync[Any] | None, numbers: list[int]) -> None:
        initializer, *arguments = begin
        for part in parts_of(numbers):
            with ProcessPoolExecutor(
                WORKERS, self.context, initializer=initializer, initargs=tuple(arguments)
            ) as pool:
                run_part(pool, given, part)


class ByLoky(Way):
    """joblib's executor, loky, which makes new workers after one has died."""

    def run(self, begin: Begin, given: MemSync[Any] | None, numbers: list[int]) -> None:
        from joblib.externals.loky import get_reusable_executor

        initializer, *arguments = begin
        for part in parts_of(numbers):
            pool = get_reusable_executor(
                WORKERS, initializer=initializer, initargs=tuple(arguments), timeout=PATIENCE
            )
            run_part(pool, given, part)
        pool.shutdown(wait=True)


class ByJoblib(Way):
    """``Parallel`` of joblib, whose tasks bring the handle."""

    def run(self, begin: Begin, given: MemSync[Any] | None, numbers: list[int]) -> None:
        from joblib import Parallel, delayed
        from joblib.externals.loky import get_reusable_executor

        for part in parts_of(numbers):
            Parallel(n_jobs=WORKERS)(delayed(work)(given, number) for number in part if number >= 0)
            if KILL in part:
                with suppress(BrokenExecutor):
                    Parallel(n_jobs=WORKERS)([delayed(work)(given, KILL)])
        get_reusable_executor().shutdown(wait=True)


def parts_of(numbers: list[int]) -> list[list[int]]:
    """The tasks up to the one that ends its worker, and the others."""
    if KILL not in numbers:
        return [numbers]
    place = numbers.index(KILL) + 1
    return [numbers[:place], numbers[place:]]


def run_part(pool: Any, given: MemSync[Any] | None, part: list[int]) -> None:
    """Submit a part to an executor, and wait for it; then the task that ends a worker."""
    for future in [pool.submit(work, given, number) for number in part if number != KILL]:
        future.result(PATIENCE)
    if KILL in part:
        with suppress(BrokenExecutor):
            pool.submit(work, given, KILL).result(PATIENCE)


class ByProcess(Way):
    """Raw processes, one for each task, two at a time."""

    def run(self, begin: Begin, given: MemSync[Any] | None, numbers: list[int]) -> None:
        for place in range(0, len(numbers), WORKERS):
            pair = numbers[place : place + WORKERS]
            for number, process in [(n, self._start(begin, given, n)) for n in pair]:
                process.join(PATIENCE)
                assert process.exitcode == (-signal.SIGKILL if number == KILL else 0)
                process.close()

    def _start(self, begin: Begin, given: MemSync[Any] | None, number: int) -> Any:
        process = self.context.Process(target=begin_and_work, args=(begin, given, number))
        process.start()
        return process


class ByFork(Way):
    """`os.fork`, with children that end as a program does, or at once (`os._exit`)."""

    def run(self, begin: Begin, given: MemSync[Any] | None, numbers: list[int]) -> None:
        for place in range(0, len(numbers), WORKERS):
            pair = numbers[place : place + WORKERS]
            for number, pid in [(n, self._start(begin, given, n)) for n in pair]:
                _, status = os.waitpid(pid, 0)
                assert status == (signal.SIGKILL if number == KILL else 0), status

    def _start(self, begin: Begin, given: MemSync[Any] | None, number: int) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            begin_and_work(begin, given, number)
        except Exception:
            traceback.print_exc()
            os._exit(1)
        if number % 2:
            sys.exit(0)
        os._exit(0)


WAYS: dict[str, type[Way]] = {
    "pool": ByPool,
    "executor": ByExecutor,
    "loky": ByLoky,
    "joblib": ByJoblib,
    "process": ByProcess,
    "fork": ByFork,
}


def arrivals(way: str, method: str, mem: MemSync[Any]) -> dict[str, tuple[Begin, Any]]:
    """How a handle comes to the workers: by their initializer, or with each task."""
    found: dict[str, tuple[Begin, Any]] = {"argument": ((None,), mem)}
    if way != "joblib":  # Parallel has no initializer
        found["initializer"] = (take, mem), None
        found["name"] = (make_by_name,), None
    if method == "fork":
        found["inherited"] = (None,), None
    return found


def main(way: str, method: str) -> dict[str, Any]:
    """Run pools, in each of which the handle arrives in another way."""
    data = {"n": 0, "killed": 0, "jobs": list(range(1000)), "done": []}
    with MemSync(NAME, data, PLACES) as mem:
        pools = WAYS[way](method, mem)
        ways = arrivals(way, method, mem)
        if "inherited" in ways:
            tasks.own = mem
        number = FEW if way in ("process", "fork") else TASKS
        for begin, given in ways.values():
            half = list(range(number // 2))
            pools.run(begin, given, [*half, KILL, *half])
            if method == "fork":  # more is cheap there
                pools.run(begin, given, list(range(number)))
        until(lambda: not mem.has_peers(), 5, lambda: f"workers did not leave: {mem.peers}")
        seen = mem.snapshot()
    runs = 2 if method == "fork" else 1
    return {"arrivals": sorted(ways), "tasks": len(ways) * (runs * number + 1), **seen}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
