"""Four copies of a scheduler: one works, the others stand by, and each due time is done once.

Run it: python examples/scheduler.py

The copy that works is killed twice; the next one goes on from what the object says. A run and its
record are one patch here, so neither is without the other. For a job that acts elsewhere, choose:
record it first, and a kill in between loses the job; record it last, and it is done once more.
"""

from __future__ import annotations

import math
import os
import signal
import time
from multiprocessing import get_context

from memsync import MemSync

NAME, BEGIN, DUE_TIMES = "example_scheduler", {"next": 0, "runs": []}, 12
ONE_OF_US = {"network": {"maxWriters": 1}, "onMaxWriters": "wait"}
READER = {"network": {"maxWriters": 1}, "peer": {"roles": []}}


def scheduler() -> None:
    """Wait until this copy is the one that works, and do what is due."""
    mem = MemSync(NAME, BEGIN, ONE_OF_US)
    mem.start(timeout=math.inf)
    while (due := mem.data["next"]) < DUE_TIMES:
        time.sleep(0.05)  # until it is time
        run = {"due": due, "pid": os.getpid()}
        mem.patch({"$inc": {"next": 1}, "$push": {"runs": run}}, where={"next": due})
    mem.stop()


def main() -> None:
    context = get_context("spawn")
    with MemSync(NAME, BEGIN, READER) as mem:
        copies = [context.Process(target=scheduler) for _ in range(4)]
        for copy in copies:
            copy.start()
        for number in (4, 8):
            done = mem.wait_for({"next": {"$gte": number}}, timeout=30)
            os.kill(done["runs"][-1]["pid"], signal.SIGKILL)
        done = mem.wait_for({"next": DUE_TIMES}, timeout=30)
        for copy in copies:
            copy.join()
    print("due times that ran:", [run["due"] for run in done["runs"]])
    print("by copies:", len({run["pid"] for run in done["runs"]}))


if __name__ == "__main__":
    main()
