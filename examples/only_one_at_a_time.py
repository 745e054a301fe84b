"""Processes take turns; the one that has its turn is killed, and the next one goes on.

Run it: python examples/only_one_at_a_time.py
"""

from __future__ import annotations

import os
import signal
import time
from multiprocessing import get_context

from memsync import MemSync

WORKERS = 3


def work(mem: MemSync, worker: int) -> None:
    """Have one turn; worker 0 dies in the middle of it."""
    mem.patch({"$inc": {"ready": 1}})
    mem.wait_for({"ready": WORKERS})
    time.sleep(worker / 10)  # worker 0 comes first
    with mem.lock("turn") as lock:
        if worker == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        mem.patch({"$push": {"turns": worker}}, lock=lock)
    mem.stop()


def main() -> None:
    context = get_context("spawn")
    with MemSync("example_turns", {"ready": 0, "turns": []}) as mem:
        mem.once("greet", lambda: print("let us begin"))
        workers = [context.Process(target=work, args=(mem, each)) for each in range(WORKERS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print("had a turn:", sorted(mem.data["turns"]))
        print("locked:", mem.lock("turn").locked())


if __name__ == "__main__":
    main()
