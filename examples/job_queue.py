"""Processes of a pool share a list of jobs; each job is done once, by the fastest.

Run it: python examples/job_queue.py
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from memsync import MemSync
from memsync.errors import ConditionError

JOBS, WORKERS = 12, 3


def work(mem: MemSync, worker: str) -> int:
    """Do free jobs until there are none; returns how many."""
    done = 0
    for number in range(JOBS):
        job = f"jobs.{number}"
        try:
            mem.patch({"$set": {f"{job}.state": worker}}, where={f"{job}.state": "free"})
        except ConditionError:
            continue  # another worker has it
        square = mem.data["jobs"][number]["input"] ** 2
        mem.patch({"$set": {f"{job}.state": "done", f"{job}.output": square}, "$inc": {"done": 1}})
        done += 1
    return done


def main() -> None:
    jobs = [{"input": number, "state": "free", "output": None} for number in range(JOBS)]
    with (
        MemSync("example_jobs", {"jobs": jobs, "done": 0}) as mem,
        # Any start method will do; with spawn, the handle travels to the workers by pickle.
        ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool,
    ):
        names = [f"worker {number}" for number in range(WORKERS)]
        counts = list(pool.map(work, [mem] * WORKERS, names))
        print("outputs:", [job["output"] for job in mem.data["jobs"]])
        print("done:", mem.data["done"], "=", sum(counts))


if __name__ == "__main__":
    main()
