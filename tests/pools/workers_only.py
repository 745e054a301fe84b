"""A program whose object lives in the workers of a pool only; the one that hosts is killed.

``python -m tests.pools.workers_only METHOD`` runs it: a `Pool` of two workers, with two places.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from multiprocessing import get_context
from typing import Any

from memsync import MemSync
from memsync.testing import until

from . import tasks

ROUNDS = 3
PATIENCE = 30.0  # seconds


def begin(mem: MemSync[Any]) -> None:
    """The initializer: join at once, as only members keep the object."""
    tasks.take(mem)
    mem.start()


def is_whole(_: int) -> bool:
    """Whether two living workers are members."""
    assert tasks.own is not None
    members = {peer["pid"] for peer in tasks.own.peers}
    return len(members - set(tasks.own.data["dead"])) == 1


def kill_host(number: int) -> None:
    """Kill this worker, if it hosts and none was killed in this round."""
    mem = tasks.own
    assert mem is not None
    if mem.get_status()["status"] == "host" and len(mem.data["dead"]) < number:
        mem.patch({"$push": {"dead": os.getpid()}})
        os.kill(os.getpid(), signal.SIGKILL)


def read(_: int) -> dict[str, Any]:
    assert tasks.own is not None
    found: dict[str, Any] = tasks.own.snapshot()
    return found


def main(method: str) -> dict[str, Any]:
    """Run rounds of writes, each with the death of the host; returns the object at the end."""
    data = {"n": 0, "dead": [], "jobs": list(range(1000)), "done": []}
    mem = MemSync(tasks.NAME, data, {"network": {"maxWriters": 2}})
    with get_context(method).Pool(2, begin, [mem]) as pool:

        def ask(task: Any) -> Any:
            return pool.apply_async(task, [0]).get(PATIENCE)

        for number in range(1, ROUNDS + 1):
            until(lambda: ask(is_whole), PATIENCE, "two workers are members")
            pool.starmap(tasks.work, [(None, task) for task in range(20)], chunksize=1)

            def is_killed(number: int = number) -> bool:
                pool.apply_async(kill_host, [number])
                return len(ask(read)["dead"]) == number

            until(is_killed, PATIENCE, "the host is killed")
        until(lambda: ask(is_whole), PATIENCE, "two workers are members")
        seen: dict[str, Any] = ask(read)
    return seen


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
