"""The worker processes of the demo: started, watched, and ended whatever happens."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any

END_PATIENCE = 20.0  # seconds for all workers to leave the group, one host after the other

_context = multiprocessing.get_context("spawn")


class DemoError(Exception):
    """The demo could not be brought to its end."""


class Pool:
    """Processes of which none outlives the ``with`` block."""

    def __init__(self) -> None:
        self._processes: list[SpawnProcess] = []
        self._killed: set[int | None] = set()

    def __enter__(self) -> Pool:
        return self

    def start(self, count: int, target: Callable[..., None], args: tuple[Any, ...]) -> None:
        """Start processes that call ``target(*args, number, count)``, with numbers from 0."""
        with _ctrl_c_held_back():
            for number in range(count):
                process = _context.Process(
                    target=target,
                    args=(*args, number, count),
                    name=f"demo-worker-{number}",
                    daemon=True,
                )
                self._processes.append(process)
                process.start()

    def check(self) -> None:
        """Raise `DemoError` when a process has ended that was not killed with `kill`."""
        for process in self._processes:
            if process.exitcode is not None and process.pid not in self._killed:
                raise _ended_by_itself(process)

    def kill(self, pid: int) -> float:
        """Kill the process with this id by SIGKILL; returns when (monotonic seconds).

        Raises `DemoError` when it is none of the pool's.
        """
        for process in self._processes:
            if process.pid == pid:
                self._killed.add(pid)
                now = time.monotonic()
                process.kill()
                return now
        raise DemoError(f"process {pid} is host, but none of the workers")

    def join(self) -> None:
        """Wait until all processes have ended; raises `DemoError` when one did not end well."""
        deadline = time.monotonic() + END_PATIENCE
        for process in self._processes:
            process.join(max(deadline - time.monotonic(), 0))
            if process.exitcode is None:
                raise DemoError(f"worker process {process.pid} did not end in {END_PATIENCE:g} s")
            if process.exitcode != 0 and process.pid not in self._killed:
                raise _ended_by_itself(process)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        started = [process for process in self._processes if process.pid is not None]
        for process in started:
            process.kill()
        for process in started:
            process.join()
            process.close()


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """What is started in here never sees Ctrl-C; the parent gets it, and ends its workers."""
    resource_tracker.ensure_running()  # on Python 3.11, its start would lift the block
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def end_with_parent() -> None:
    """Have this worker end when its parent does, which, killed, could not end it."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="demo-parent-watch", daemon=True).start()


def set_up_logging(verbose: bool) -> None:
    """Log to stderr when asked to, else nowhere."""
    if verbose:
        logging.basicConfig(
            level=logging.INFO, format="%(asctime)s %(process)d %(name)s %(levelname)s %(message)s"
        )
    else:
        logging.getLogger("memsync").addHandler(logging.NullHandler())


def _ended_by_itself(process: SpawnProcess) -> DemoError:
    code = process.exitcode or 0
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
    return DemoError(f"worker process {process.pid} ended by itself, {how}")
