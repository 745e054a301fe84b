"""Processes that run functions for a benchmark, and none of which survives it."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import get_context, set_forkserver_preload
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

METHOD = "forkserver"
PATIENCE = 5.0  # seconds in which a process may end by itself
DEADLINE = 120.0  # seconds in which a worker answers: twice what it itself waits for others


class WorkerFailed(Exception):
    """A function raised in a worker, or the worker's process ended."""


class BrokeOff(WorkerFailed):
    """A system had started, and then failed."""


class Worker:
    """A process that makes one object and then calls functions with it.

    `make` runs in the new process; what it returns is the first argument of every function that is
    sent with `begin` or `run`. With `path` a spawned process imports from there first. Errors name
    the `system` that it belongs to. The process ends when its pipe closes, so also when this
    process is killed.
    """

    def __init__(
        self,
        make: Callable[..., Any],
        *arguments: Any,
        environment: Mapping[str, str] | None = None,
        method: str = METHOD,
        path: Path | None = None,
        system: str = "",
    ) -> None:
        context: Any = get_context(method)  # the type of the contexts' base lacks Process
        self._connection: Connection
        self._connection, theirs = context.Pipe()
        arguments = (theirs, dict(environment or {}), make, arguments)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        with first_on_path(path):
            self._process.start()
        theirs.close()
        self.pid: int = self._process.pid
        self._name = f"process {self.pid}" + (f" of {system}" if system else "")

    def begin(self, function: Callable[..., Any] | str, *arguments: Any) -> None:
        """Start a function, or the method of the object that has this name; `result` waits."""
        self._connection.send((function, arguments))

    def result(self) -> Any:
        """What the oldest function that was begun returned; at first, that `make` is over.

        Raises `WorkerFailed` if the function raised, or if there is no answer in time.
        """
        try:
            if not self._connection.poll(DEADLINE):
                raise WorkerFailed(f"{self._name} has not answered for {DEADLINE:g} s")
            succeeded, value = self._connection.recv()
        except EOFError:
            raise WorkerFailed(f"{self._name} has ended") from None
        if not succeeded:
            raise WorkerFailed(value)
        return value

    def run(self, function: Callable[..., Any] | str, *arguments: Any) -> Any:
        self.begin(function, *arguments)
        return self.result()

    def kill(self) -> None:
        """End the process with SIGKILL."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def close(self) -> None:
        """Let the process end by itself, and kill it if it does not."""
        self._connection.close()
        self._process.join(PATIENCE)
        self._process.kill()
        self._process.join()


@contextmanager
def first_on_path(path: Path | None) -> Iterator[None]:
    """Let processes that are spawned meanwhile import from a folder first."""
    if path is None:
        yield
        return
    sys.path.insert(0, str(path))
    try:
        yield
    finally:
        sys.path.remove(str(path))


def preload() -> None:
    """Let new processes be forked from one that has imported everything, and used nothing."""
    set_forkserver_preload(["benchmarks.workloads", "memsync.handle", "memsync.manager.driver"])


def run_all(
    workers: Iterable[Worker], function: Callable[..., Any] | str, *arguments: Any
) -> list[Any]:
    """Run a function in several workers at the same time."""
    chosen = list(workers)
    for worker in chosen:
        worker.begin(function, *arguments)
    return [worker.result() for worker in chosen]


def _call(state: Any, function: Callable[..., Any] | str, arguments: tuple[Any, ...]) -> Any:
    if isinstance(function, str):
        return getattr(state, function)(*arguments)
    return function(state, *arguments)


def _serve(
    connection: Connection,
    environment: dict[str, str],
    make: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group of processes
    os.environ.update(environment)
    state: Any = None
    with suppress(EOFError, OSError):
        try:
            state = make(*arguments)
            connection.send((True, None))
        except Exception:
            connection.send((False, traceback.format_exc()))
        while True:
            function, arguments = connection.recv()
            try:
                answer = True, _call(state, function, arguments)
            except Exception:
                answer = False, traceback.format_exc()
            connection.send(answer)
    if hasattr(state, "close"):
        state.close()
    os._exit(0)  # threads of the system under test do not hold the process up
