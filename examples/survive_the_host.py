"""A process writes on while the host, another process, is killed; no acknowledged write is lost.

Run it: python examples/survive_the_host.py
"""

from __future__ import annotations

import os
import signal
from multiprocessing import get_context
from multiprocessing.synchronize import Event

from memsync import MemSync


def host(mem: MemSync, ready: Event) -> None:
    """Found the object, so become its host, and wait to be killed."""
    with mem:
        ready.set()
        signal.pause()


def main() -> None:
    context = get_context("spawn")
    ready = context.Event()
    mem = MemSync("example_survivor", {"n": 0})
    first = context.Process(target=host, args=(mem, ready), daemon=True)
    first.start()
    if not ready.wait(30):
        raise SystemExit("the first process did not come")
    with mem:
        print("this process is", mem.get_status()["status"])
        for number in range(1000):
            if number == 500:
                os.kill(mem.get_status()["host"]["pid"], signal.SIGKILL)
            mem.patch({"$inc": {"n": 1}})  # across the change of host it just takes longer
        print("this process is", mem.get_status()["status"])
        print("n:", mem.data["n"])
    first.join()


if __name__ == "__main__":
    main()
