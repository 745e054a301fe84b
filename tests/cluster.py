"""Peers in processes of their own, driven by a test: start, tell, kill, wait for conditions.

Each peer is a process that runs functions sent to it, each on a thread of its own, so that it can
answer while a writer is busy in it. Processes are forked from one clean server process, which has
imported memsync but never used it: a peer costs milliseconds instead of an interpreter's start. A
peer whose test is gone sees the end of its pipe and ends, too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count
from multiprocessing import forkserver, get_context, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any
from weakref import WeakSet

import cloudpickle

from memsync import MemSync

NAME = "obj"
PATIENCE = 20.0  # seconds a test waits for anything before it fails
_POLL = 0.003  # seconds between two looks at a condition

_context = get_context("forkserver")
# Each process imports the main module of the tests again, so pytest is preloaded as well.
_context.set_forkserver_preload(["pytest", "cloudpickle", "memsync.peer", "watchdog.observers"])
_our_ends: WeakSet[Connection] = WeakSet()  # of the pipes; a forked peer inherits them


def until(
    condition: Callable[[], Any],
    timeout: float = PATIENCE,
    message: Callable[[], str] | str = "the condition did not come true",
) -> Any:
    """The first true value of a condition; fails the test when there is none in time."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            text = message() if callable(message) else message
            raise AssertionError(f"after {timeout:g} s: {text}")
        time.sleep(_POLL)


def helper_pids() -> set[int]:
    """The processes which multiprocessing keeps for itself until the tests are over."""
    own = (forkserver._forkserver._forkserver_pid, resource_tracker._resource_tracker._pid)
    return {pid for pid in own if pid is not None}


def start_helpers() -> None:
    """Start those processes."""
    forkserver.ensure_running()
    resource_tracker.ensure_running()


class Peer:
    """One process with one `MemSync` handle; what is sent to it gets the handle."""

    def __init__(
        self,
        name: str,
        data: Any,
        options: Any,
        settings: dict[str, str],
        context: Any = _context,
    ) -> None:
        self._connection, theirs = context.Pipe()
        _our_ends.add(self._connection)
        arguments = (theirs, name, data, options, settings)
        self._process = context.Process(target=_serve, args=arguments)
        self._process.start()
        theirs.close()
        self._tickets = count(1)
        self._answers: dict[int, tuple[bool, Any]] = {}
        self.pid: int = self._process.pid

    def begin(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
        """Have ``function(mem, ...)`` run there; returns the ticket for `result`."""
        ticket = next(self._tickets)
        self._connection.send_bytes(cloudpickle.dumps((ticket, function, args, kwargs)))
        return ticket

    def result(self, ticket: int, timeout: float = PATIENCE) -> Any:
        """What the function returned; raises what it raised, `PeerDied` when it never will."""
        deadline = time.monotonic() + timeout
        while ticket not in self._answers:
            if not self._connection.poll(max(deadline - time.monotonic(), 0)):
                raise AssertionError(f"process {self.pid} did not answer within {timeout:g} s")
            try:
                number, succeeded, value = self._connection.recv()
            except (EOFError, ConnectionResetError):
                raise PeerDied(f"process {self.pid} has ended") from None
            self._answers[number] = (succeeded, value)
        succeeded, value = self._answers.pop(ticket)
        if not succeeded:
            raise value
        return value

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """`begin` and `result` in one."""
        return self.result(self.begin(function, *args, **kwargs))

    # -- what tests say most often ---------------------------------------------------------------

    def start(self) -> str:
        """Start the handle; returns its role."""
        return self.run(MemSync.start)

    def stop(self) -> None:
        """Stop the handle; the process lives on."""
        self.run(MemSync.stop)

    def patch(self, update: Any, **kwargs: Any) -> int:
        """Write, and wait for the acknowledgement."""
        return self.run(MemSync.patch, update, **kwargs)

    def snapshot(self, path: str | None = None) -> Any:
        """What this peer sees."""
        return self.run(MemSync.snapshot, path)

    def status(self) -> dict[str, Any]:
        """The peer's `get_status`."""
        return self.run(MemSync.get_status)

    @property
    def version(self) -> int:
        """The peer's confirmed version."""
        return self.status()["version"]

    # -- the process -----------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.is_alive()

    @property
    def exitcode(self) -> int | None:
        """The exit code, negative for a signal; None while the process lives."""
        return self._process.exitcode

    def signal(self, number: int) -> None:
        """Send a signal, for example SIGSTOP."""
        os.kill(self.pid, number)

    def freeze(self) -> None:
        """SIGSTOP, and wait until no thread of the process runs any more (where that shows)."""
        self.signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.pid}/task")
        until(lambda: all(_state(task) == "T" for task in tasks.glob("*/stat")))

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        if self.alive:  # or its number may be that of somebody else's process by now
            with suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
        self.join()

    def join(self, timeout: float = PATIENCE) -> None:
        """Wait until the process has ended."""
        self._process.join(timeout)
        assert not self.alive, f"process {self.pid} did not end within {timeout:g} s"

    def end(self) -> None:
        """Close the pipe: the process returns from its main function, as a program would."""
        self._connection.close()

    def dispose(self) -> None:
        """Kill the process, join it and close what belongs to it."""
        self.kill()
        self._connection.close()
        self._process.close()


class PeerDied(Exception):
    """The process ended before it answered."""


class Cluster:
    """The peers of one test; those that live at its end are killed.

    `method` is how their processes are made: ``forkserver``, ``spawn`` or ``fork``.
    """

    def __init__(self, method: str = "forkserver") -> None:
        self._context = get_context(method)
        self.peers: list[Peer] = []
        self._programs: list[subprocess.Popen[str]] = []

    def peer(
        self,
        data: Any = None,
        options: Any = None,
        *,
        name: str = NAME,
        start: bool = True,
        folder: str | os.PathLike[str] | None = None,
    ) -> Peer:
        """One more process, with the test's MEMSYNC_ variables; its handle is started unless told
        otherwise.
        """
        settings = {key: text for key, text in os.environ.items() if key.startswith("MEMSYNC_")}
        if folder is not None:
            settings["MEMSYNC_DIR"] = os.fspath(folder)
        peer = Peer(name, data, options, settings, self._context)
        self.peers.append(peer)
        if start:
            peer.start()
        return peer

    def script(self, source: str, *arguments: str, optimize: bool = False) -> subprocess.Popen[str]:
        """A program of its own, as a user would write it; its output can be read as text."""
        flags = ["-O"] if optimize else []
        program = subprocess.Popen(
            [sys.executable, *flags, "-c", textwrap.dedent(source), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._programs.append(program)
        return program

    def start(self, number: int, data: Any = None, options: Any = None) -> list[Peer]:
        """So many peers more, started side by side; the host is the first of `peers`."""
        first = [self.peer(data, options)] if not self.living else []
        rest = [self.peer(data, options, start=False) for _ in range(number - len(first))]
        for peer, ticket in [(peer, peer.begin(MemSync.start)) for peer in rest]:
            peer.result(ticket)
        return first + rest

    @property
    def living(self) -> list[Peer]:
        """The peers whose process has not ended."""
        return [peer for peer in self.peers if peer.alive]

    def host(self) -> Peer:
        """The one peer that hosts, once there is exactly one."""

        def hosts() -> list[Peer]:
            return [peer for peer in self.living if peer.status()["status"] == "host"]

        return until(lambda: len(found := hosts()) == 1 and found)[0]

    def clients(self) -> list[Peer]:
        """The living peers that do not host."""
        host = self.host()
        return [peer for peer in self.living if peer is not host]

    def settled(self, peers: Iterable[Peer] | None = None) -> dict[str, Any]:
        """The object, once all peers hold the same version of it, down to the order of its keys."""
        chosen = list(peers if peers is not None else self.living)
        until(lambda: len({_pair(peer) for peer in chosen}) == 1, message="versions differ")
        texts = {repr(peer.snapshot()) for peer in chosen}
        assert len(texts) == 1, f"replicas differ: {texts}"
        return chosen[0].snapshot()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for peer in self.peers:
            peer.dispose()
        for program in self._programs:
            program.kill()
            program.communicate()


def _state(stat: Path) -> str:
    """The letter for the state of a thread, behind its name in parentheses."""
    return stat.read_text().rpartition(")")[2].split()[0]


def _pair(peer: Peer) -> tuple[int, int]:
    status = peer.status()
    return status["epoch"], status["version"]


# -- inside the process ----------------------------------------------------------------------------


def _serve(
    connection: Connection, name: str, data: Any, options: Any, settings: dict[str, str]
) -> None:
    for end in list(_our_ends):  # or no peer would see that the test is gone
        end.close()
    for variable in [each for each in os.environ if each.startswith("MEMSYNC_")]:
        del os.environ[variable]
    os.environ.update(settings)
    mem: MemSync[Any] = MemSync(name, data, options)
    answering = threading.Lock()

    def answer(ticket: int, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        try:
            outcome = (ticket, True, function(mem, *args, **kwargs))
        except Exception as error:  # the test judges it
            outcome = (ticket, False, error)
        with answering, suppress(BrokenPipeError):  # the test has ended meanwhile
            connection.send(outcome)

    while True:
        try:
            command = connection.recv_bytes()
        except EOFError:
            return
        threading.Thread(target=answer, args=cloudpickle.loads(command), daemon=True).start()


def log_to(path: str | os.PathLike[str]) -> Callable[[object], None]:
    """A function that appends a line to a file; what was appended survives SIGKILL."""
    descriptor = os.open(Path(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)

    def write(line: object) -> None:
        os.write(descriptor, f"{line}\n".encode())

    return write
