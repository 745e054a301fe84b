"""Programs that end while a pool works: ``python -m tests.pools.endings HOW METHOD``."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from memsync import MemSync

from . import tasks


def work(mem: MemSync[Any]) -> None:
    """A task of many writes."""
    for _ in range(200):
        mem.patch({"$inc": {"n": 1}})


def submit(mem: MemSync[Any]) -> None:
    """A task that does not wait for its write."""
    mem.submit({"$inc": {"n": 1}})


def interrupt(mem: MemSync[Any], interrupted: threading.Event) -> None:
    """Ctrl-C in the terminal, in the middle of the work: each process gets it.

    A signal is for any thread of a process, and one that forks in that instant takes it. A pool
    does so as it replaces the interrupted workers; the wait of the main thread then goes on.
    """
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    mem.wait_for(lambda data: data["n"] > 300)
    os.killpg(0, signal.SIGINT)
    while not interrupted.wait(2):
        signal.pthread_kill(main_thread, signal.SIGINT)


def main(how: str, method: str) -> None:
    context = get_context(method)
    mem: MemSync[Any] = MemSync(tasks.NAME, {"n": 0}, tasks.PLACES)
    mem.start()
    if how == "unclosed":  # neither the pool nor the handle is closed
        executor = ProcessPoolExecutor(2, context)
        for _ in range(20):
            executor.submit(submit, mem)
        return
    interrupted = threading.Event()
    threading.Thread(target=interrupt, args=[mem, interrupted]).start()
    if how == "pool":
        with context.Pool(2) as pool:
            try:
                pool.map(work, [mem] * 100, chunksize=1)
            except KeyboardInterrupt:
                interrupted.set()
                raise
    with ProcessPoolExecutor(2, context) as executor:
        try:
            list(executor.map(work, [mem] * 100))
        except KeyboardInterrupt:
            interrupted.set()
            executor.shutdown(cancel_futures=True)
            raise


if __name__ == "__main__":
    main(*sys.argv[1:])
