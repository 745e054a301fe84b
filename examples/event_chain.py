"""A chain of events: orders are placed, packed and sent by processes that know only the names.

Run it: python examples/event_chain.py
"""

from __future__ import annotations

from multiprocessing import get_context

from memsync import MemSync

ORDERS = 3
STEPS = [("placed", "packed"), ("packed", "sent")]
TIMEOUT = 30  # seconds


def work(mem: MemSync, start: str, end: str) -> None:
    """Take each order from one step to the next."""
    with mem:
        stream = mem.events.stream(f"order.{start}")
        mem.presence.update(does=end)
        for _ in range(ORDERS):
            (number,) = next(stream).args
            # The change and the event are one entry: whoever gets the event finds the change.
            mem.patch({"$set": {f"orders.{number}": end}}, emit=(f"order.{end}", number))


def main() -> None:
    context = get_context("spawn")
    with MemSync("example_events", {"orders": {}}) as mem:
        workers = [context.Process(target=work, args=(mem, *step)) for step in STEPS]
        for worker in workers:
            worker.start()
        there = mem.events.stream("order.sent")
        while len(mem.presence.all()) < len(STEPS):  # they listen before they state anything
            workers[0].join(0.01)
        for number in range(ORDERS):
            mem.patch({"$set": {f"orders.{number}": "placed"}}, emit=("order.placed", number))
        for _ in range(ORDERS):
            (number,) = next(there).args
            print(f"order {number}: {mem.data['orders'][str(number)]}")
        for worker in workers:
            worker.join(TIMEOUT)


if __name__ == "__main__":
    main()
