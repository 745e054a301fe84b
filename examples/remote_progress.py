"""A worker process runs a long job; the program shows how far it is, and reads its results.

Run it: python examples/remote_progress.py
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.synchronize import Event

from memsync import MemSync

PAGES = 5


def work(started: Event, end: Event) -> None:
    """Offer two methods until the program ends."""

    def convert(pages: int) -> str:
        for page in range(1, pages + 1):
            mem.rpc.current().check()  # raises if nobody waits any more
            time.sleep(0.02)
            mem.rpc.current().progress(page, pages, f"page {page}")
        return f"{pages} pages converted"

    def lines(pages: int) -> Iterator[str]:
        for page in range(1, pages + 1):
            yield f"line of page {page}"

    mem = MemSync("example_progress", rpc={"convert": convert, "lines": lines})
    with mem:
        started.set()
        end.wait()


def main() -> None:
    context = get_context("spawn")
    started, end = context.Event(), context.Event()
    worker = context.Process(target=work, args=(started, end))
    worker.start()
    with MemSync("example_progress") as mem:
        started.wait()
        future = mem.rpc.submit("convert", PAGES)
        while not future.done():
            time.sleep(0.01)  # here a program draws its bar from future.progress
        done, total, note = future.progress or (0, 0, "")
        print(f"{done:.0f} of {total:.0f}: {note}")
        print(future.result())
        with mem.call("lines", 1000) as lines:
            for line in lines:
                print(line)
                if "page 3" in line:
                    break  # the generator over there ends here
        end.set()
    worker.join()


if __name__ == "__main__":
    main()
