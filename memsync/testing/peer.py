"""The test's side of a peer in a process of its own: call functions in it, pause it, kill it."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped] # it has no types

from ..clocks import monotonic
from ..errors import UsageError
from ..handle import MemSync
from .conditions import PATIENCE, until
from .serving import dumps, ends_of_the_test, serve

# The server process has imported these, so a peer that is forked from it starts fast. The handle
# imports the engine when it is made.
_PRELOADED = ("cloudpickle", "watchdog.observers", "memsync.manager.driver", serve.__module__)


class PeerDied(Exception):
    """The peer's process ended before it answered."""


class Peer:
    """One process with one `MemSync` handle; the functions sent to it get that handle.

    `Cluster.peer` and `Cluster.start` create it. ``pid`` is its process id and ``name`` the name of
    its object; ``paused`` is True between `pause` and `resume`.
    """

    def __init__(
        self,
        context: BaseContext,
        name: str,
        data: Any,
        options: Any,
        environment: dict[str, str],
        rpc: Any = None,
    ) -> None:
        self.name = name
        self.paused = False
        self._connection, theirs = context.Pipe()
        ends_of_the_test.add(self._connection)
        arguments = (theirs, name, data, options, environment, _encoded(rpc))
        # Each context has a class Process; the type of their base lacks it.
        self._process = context.Process(target=serve, args=arguments)  # type: ignore[attr-defined]
        try:
            self._process.start()
        except OSError as error:
            self._connection.close()
            if "path too long" not in str(error):
                raise
            raise UsageError(
                f"the path of the temp folder {get_temp_dir()} is too long for the socket of "
                "multiprocessing's server process: set TMPDIR to a shorter one, or use "
                "method='spawn'"
            ) from error
        finally:
            theirs.close()
        self._waker: subprocess.Popen[bytes] | None = None  # while the peer is paused
        self._tickets = count(1)
        self._answers: dict[int, tuple[Any, Exception | None, str]] = {}
        self.pid: int = self._process.pid

    def __repr__(self) -> str:
        return f"<Peer {self.name!r} pid={self.pid}>"

    # -- running functions in it -----------------------------------------------------------------

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run ``function(mem, *args, **kwargs)`` in the peer; returns or raises what it does.

        Lambdas work as well. Raises `PeerDied` when the process ends meanwhile, and
        `AssertionError` without an answer within 20 seconds.
        """
        return self.result(self.begin(function, *args, **kwargs))

    def begin(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
        """`run` without waiting; returns the ticket for `result`."""
        ticket = next(self._tickets)
        try:
            self._connection.send((ticket, _encoded((function, args, kwargs))))
        except ConnectionError:
            raise self._death() from None
        return ticket

    def result(self, ticket: int, timeout: float = PATIENCE) -> Any:
        """The result of the function of a ticket; waits at most `timeout` seconds."""
        deadline = monotonic() + timeout
        while ticket not in self._answers:
            if not self._connection.poll(max(deadline - monotonic(), 0)):
                why = ": it is paused, resume() it" if self.paused else ""
                raise AssertionError(f"{self!r} did not answer within {timeout:g} s{why}")
            try:
                number, *answer = pickle.loads(self._connection.recv_bytes())
            except (EOFError, ConnectionResetError):
                raise self._death() from None
            self._answers[number] = tuple(answer)
        value, error, text = self._answers.pop(ticket)
        if error is not None:
            error.add_note(f"raised in {self!r}:\n{text}")
            raise error
        return value

    # -- frequent calls --------------------------------------------------------------------------

    def start(self) -> str:
        """Start the handle; returns its role."""
        role: str = self.run(MemSync.start)
        return role

    def stop(self) -> None:
        """Stop the handle; the process goes on."""
        self.run(MemSync.stop)

    def patch(self, update: Any, **kwargs: Any) -> int:
        """Write, and wait for the acknowledgement; returns the version."""
        version: int = self.run(MemSync.patch, update, **kwargs)
        return version

    def snapshot(self, path: str | None = None) -> Any:
        """The peer's `MemSync.snapshot`."""
        return self.run(MemSync.snapshot, path)

    def status(self) -> dict[str, Any]:
        """The peer's `MemSync.get_status`."""
        status: dict[str, Any] = self.run(MemSync.get_status)
        return status

    @property
    def version(self) -> int:
        """The peer's confirmed version."""
        version: int = self.status()["version"]
        return version

    # -- the process -----------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether the process has not ended; a paused one is alive."""
        alive: bool = self._process.is_alive()
        return alive

    @property
    def exitcode(self) -> int | None:
        """The exit code, negative for a signal; None while the process lives."""
        code: int | None = self._process.exitcode
        return code

    def signal(self, number: int) -> None:
        """Send a signal, for example SIGTERM; raises `PeerDied` when the process has ended."""
        if not self.alive:  # its pid may belong to another process by now
            raise self._death()
        if number == signal.SIGSTOP and self._waker is None:
            self._waker = _new_waker(self.pid)
        os.kill(self.pid, number)
        if number in (signal.SIGSTOP, signal.SIGCONT):
            self.paused = number == signal.SIGSTOP
        if number == signal.SIGCONT:
            self._dismiss_waker()

    def pause(self) -> None:
        """SIGSTOP, and wait until all threads have stopped (where /proc shows them)."""
        self.signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.pid}/task")
        until(lambda: all(map(_has_stopped, tasks.glob("*/stat"))))

    def resume(self) -> None:
        """Resume the process with SIGCONT."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and wait for the end of the process."""
        with suppress(ProcessLookupError, PeerDied):
            self.signal(signal.SIGKILL)
        self.join()

    def end(self) -> None:
        """Make the process return from its main function; see `join`."""
        self._connection.close()

    def join(self, timeout: float = PATIENCE) -> None:
        """Wait for the end of the process; raises `AssertionError` after `timeout` seconds."""
        self._process.join(timeout)
        if self.alive:
            raise AssertionError(f"{self!r} did not end within {timeout:g} s")

    def dispose(self) -> None:
        """Kill the process, join it and close its resources."""
        self.kill()
        self._dismiss_waker()
        self._connection.close()
        self._process.close()

    def _dismiss_waker(self) -> None:
        if self._waker is not None:
            self._waker.kill()
            self._waker.communicate()
            self._waker = None

    def _death(self) -> PeerDied:
        self._process.join(1)  # second; the pipe closes shortly before the process ends
        return PeerDied(f"{self!r} has ended (exit code {self.exitcode})")


def _new_waker(pid: int) -> subprocess.Popen[bytes]:
    """A process that resumes the paused one when this process is gone, and then ends."""
    command = ["/bin/sh", "-c", 'read _; kill -CONT "$1"', "memsync-waker", str(pid)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )


def preload() -> None:
    """Make multiprocessing's server process import what peers need, besides earlier settings.

    Has no effect when that process runs already; peers then start more slowly.
    """
    wanted = list(getattr(forkserver._forkserver, "_preload_modules", ()))
    # Each process imports the main module of the tests again, often that of pytest.
    pytest = ["pytest"] if "pytest" in sys.modules else []
    wanted += [name for name in (*pytest, *_PRELOADED) if name not in wanted]
    forkserver.set_forkserver_preload(wanted)


def _encoded(call: Any) -> bytes:
    """Pickle a call, or methods; functions of modules that the peer cannot import go as code."""
    first = call[0] if isinstance(call, tuple) else call
    first = next(iter(call.values()), None) if isinstance(call, dict) else first
    module = sys.modules.get(getattr(first, "__module__", None) or "")
    if module is None or module.__name__ == "__main__" or _can_be_imported(module.__name__):
        return dumps(call)
    cloudpickle.register_pickle_by_value(module)
    try:
        return dumps(call)
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _can_be_imported(module: str) -> bool:
    """Whether a process without the module in `sys.modules` can import it."""
    top = module.partition(".")[0]
    return any(finder.find_spec(top, None) is not None for finder in sys.meta_path)


def _has_stopped(stat: Path) -> bool:
    """Whether a thread has stopped, or has ended meanwhile; see proc_pid_stat(5)."""
    try:
        text = stat.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return text.rpartition(")")[2].split()[0] == "T"
