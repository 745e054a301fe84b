"""Several processes follow shared settings: each reads its own live copy and waits for changes.

Run it: python examples/watch_settings.py
"""

from __future__ import annotations

import threading
from multiprocessing import get_context

from memsync import MemSync

FOLLOWERS = 3
TIMEOUT = 30  # seconds


def follow(mem: MemSync) -> None:
    """Wait until the colour is green, then say so."""
    changed = threading.Event()
    with mem, mem.on("received_patches", lambda patches: changed.set()):
        mem.patch({"$inc": {"following": 1}})
        while mem.data["colour"] != "green":
            if not changed.wait(TIMEOUT):
                raise SystemExit("the colour did not change")
            changed.clear()  # before the next check, so that no change is missed
        mem.patch({"$push": {"seen": mem.data["colour"]}})


def main() -> None:
    context = get_context("spawn")
    changed = threading.Event()
    with MemSync("example_settings", {"colour": "red", "following": 0, "seen": []}) as mem:
        mem.on("received_patches", lambda patches: changed.set())
        followers = [context.Process(target=follow, args=(mem,)) for _ in range(FOLLOWERS)]
        for follower in followers:
            follower.start()
        while mem.data["following"] < FOLLOWERS:
            if not changed.wait(TIMEOUT):
                raise SystemExit("the followers did not start")
            changed.clear()
        mem.patch({"$set": {"colour": "green"}})
        for follower in followers:
            follower.join()
        print("seen:", list(mem.data["seen"]))


if __name__ == "__main__":
    main()
