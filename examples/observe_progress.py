"""A process watches the progress of workers: a callback for each change, and a loop that ends.

Run it: python examples/observe_progress.py
"""

from __future__ import annotations

from multiprocessing import get_context

from memsync import Change, MemSync

WORKERS = 3
STEPS = 20


def work(mem: MemSync, number: int) -> None:
    """Do all steps of one worker, and count each of them."""
    with mem:
        for _ in range(STEPS):
            mem.patch({"$inc": {f"steps.w{number}": 1}})


def finished(data: dict) -> int:
    """How many workers have done all their steps."""
    return sum(steps == STEPS for steps in data["steps"].values())


def main() -> None:
    context = get_context("spawn")
    steps = {f"w{number}": 0 for number in range(WORKERS)}
    with MemSync("example_progress", {"steps": steps}) as mem:
        last: list[Change] = []
        mem.observe("steps", last.append, throttle=0.05, changes=True)
        mem.observe(finished, lambda number: mem.submit({"$set": {"finished": number}}))
        workers = [context.Process(target=work, args=(mem, number)) for number in range(WORKERS)]
        for worker in workers:
            worker.start()
        for number, _ in mem.changes("finished", initial=True, timeout=30):
            if number == WORKERS:
                break
        for worker in workers:
            worker.join()
        mem.stop()  # makes the call that throttle has put off
    print("finished:", mem.data["finished"])
    print("steps:", sum(last[-1].new.values()))


if __name__ == "__main__":
    main()
