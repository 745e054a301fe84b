"""For tests with processes: those of multiprocessing, programs that talk, handles from inside."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import traceback
from collections.abc import Callable
from multiprocessing import forkserver, resource_tracker
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Any

from memsync import MemSync
from memsync.manager.driver import Driver
from memsync.manager.host.host import Host
from memsync.testing.peer import preload

LASTING = {"network": {"lease": 60}}
"""Options: a host that a busy machine does not run for seconds is not replaced."""

EVENTS_ONLY = {"network": {"lease": 600, "poll": 60}}
"""Options: what no event tells is noticed after every patience of a test."""


def helper_pids() -> set[int]:
    """The processes which multiprocessing keeps for itself until the tests are over."""
    # There is no public way to these numbers, and typeshed does not know them.
    server: Any = forkserver._forkserver
    tracker: Any = resource_tracker._resource_tracker
    return {pid for pid in (server._forkserver_pid, tracker._pid) if pid is not None}


def start_helpers() -> None:
    """Start those processes."""
    preload()
    forkserver.ensure_running()
    resource_tracker.ensure_running()


def log_to(path: str | os.PathLike[str]) -> Callable[[object], None]:
    """A function that appends a line to a file; what was appended survives SIGKILL."""
    descriptor = os.open(Path(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)

    def write(line: object) -> None:
        os.write(descriptor, f"{line}\n".encode())

    return write


def read_line(program: subprocess.Popen[str]) -> str:
    """The next line that a program of `Cluster.script` prints."""
    assert program.stdout is not None
    return program.stdout.readline()


def write_line(program: subprocess.Popen[str], line: str = "") -> None:
    """Send a line to a program of `Cluster.script`."""
    assert program.stdin is not None
    program.stdin.write(f"{line}\n")
    program.stdin.flush()


def driver_of(mem: MemSync[Any]) -> Driver:
    """The engine of a started handle: what no public method shows."""
    engine = mem._engine
    assert isinstance(engine, Driver)
    return engine


def host_of(mem: MemSync[Any]) -> Host:
    """The role of a handle that hosts."""
    role = driver_of(mem).role
    assert isinstance(role, Host)
    return role


def calls_at(mem: MemSync[Any]) -> int:
    """How many calls have come to a peer that has not answered them."""
    calls = mem._peer.calls
    assert calls is not None
    callees: list[Any] = list(calls.service.callees)
    return sum(callee.calls for callee in callees)


def watches_of(mem: MemSync[Any]) -> int:
    """How many readers wait for a change of the object."""
    return len(driver_of(mem).participant.view_waiters._waiters)


class PlainManager(BaseManager):
    """A manager of a program that has never heard of memsync."""

    @classmethod
    def document_at(cls, address: Any, key: bytes) -> Any:
        """The document proxy of the host there, reached with nothing but address and key."""
        manager: Any = cls(address, key)  # register() gives it the method document
        manager.connect()
        return manager.document()


PlainManager.register("document")


class Child:
    """A forked child that runs `task` when the parent says so, and sends what it returns."""

    def __init__(self, task: Callable[[], Any]) -> None:
        self._go = os.pipe()
        self._result = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            self._run(task)

    def _run(self, task: Callable[[], Any]) -> None:
        signal.alarm(30)  # ends a child that hangs, which is the failure
        try:
            os.read(self._go[0], 1)
            result = True, task()
        except BaseException:
            result = False, traceback.format_exc()
        os.write(self._result[1], pickle.dumps(result))
        os._exit(0)

    def begin(self) -> None:
        """Let it begin."""
        os.write(self._go[1], b"g")

    def result(self) -> Any:
        """What the task returns; it begins now, unless it has begun."""
        self.begin()
        os.close(self._result[1])
        with os.fdopen(self._result[0], "rb") as pipe:  # later children hold its other end, too
            succeeded, value = pickle.load(pipe)
        os.waitpid(self.pid, 0)
        for descriptor in self._go:
            os.close(descriptor)
        assert succeeded, value
        return value
