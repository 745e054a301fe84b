"""Peers in processes of their own, driven by a test: start, call, pause, kill.

They are real processes, so killing them is real. By default they are forked from one server process
that has imported memsync but never used it, so a peer starts in milliseconds. A peer ends when its
pipe to the test closes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing import get_all_start_methods, get_context
from typing import Any

from ..errors import HostUnresponsiveError, UsageError
from ..handle import MemSync
from ..options import check_name
from .conditions import until
from .peer import Peer, PeerDied, preload

NAME = "obj"


class Cluster:
    """The peers of one test, in the folder ``MEMSYNC_DIR``; a context manager that kills them.

    `name` is the name of their object. `method` is the start method of their processes:
    ``forkserver``, ``spawn`` or ``fork``. ``peers`` lists all peers in the order of their creation,
    the dead included.

    Raises `UsageError` for an invalid name or method.
    """

    def __init__(self, name: str = NAME, *, method: str = "forkserver") -> None:
        self.name = check_name(name)
        if method not in get_all_start_methods():
            known = ", ".join(get_all_start_methods())
            raise UsageError(f"unknown start method {method!r}: choose one of {known}")
        self._context = get_context(method)
        self.peers: list[Peer] = []
        self._programs: list[subprocess.Popen[str]] = []
        if method == "forkserver":
            preload()

    # -- making peers ----------------------------------------------------------------------------

    def peer(
        self,
        data: Any = None,
        options: Any = None,
        *,
        name: str | None = None,
        rpc: Any = None,
        start: bool = True,
        folder: str | os.PathLike[str] | None = None,
    ) -> Peer:
        """Create one more process, with the environment of the test.

        `data`, `options` and `rpc` are arguments of its handle; `name` and `folder` are those of
        the cluster by default. `rpc` may also be a function that returns the methods; its argument
        is a function that returns the handle. `start` is False for a handle that is not started.
        Raises what `MemSync` and its `start` raise.
        """
        environment = dict(os.environ)
        if folder is not None:
            environment["MEMSYNC_DIR"] = os.fspath(folder)
        peer = Peer(self._context, name or self.name, data, options, environment, rpc)
        self.peers.append(peer)
        if start:
            peer.start()
        return peer

    def start(
        self, number: int, data: Any = None, options: Any = None, *, rpc: Any = None
    ) -> list[Peer]:
        """Start `number` more peers in parallel; the host is the first of `peers`."""
        if not isinstance(number, int) or number < 0:
            raise UsageError(f"the number of peers must be an int of at least 0, not {number!r}")
        first = [self.peer(data, options, rpc=rpc)] if number and not self.living else []
        rest = [self.peer(data, options, rpc=rpc, start=False) for _ in range(number - len(first))]
        for peer, ticket in [(peer, peer.begin(MemSync.start)) for peer in rest]:
            peer.result(ticket)
        return first + rest

    def script(self, source: str, *arguments: str, optimize: bool = False) -> subprocess.Popen[str]:
        """Start a Python program with text pipes; `close` kills it.

        With `optimize` it runs under ``python -O``.
        """
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

    # -- finding and comparing peers -------------------------------------------------------------

    @property
    def living(self) -> list[Peer]:
        """The peers whose process has not ended, including paused ones."""
        return [peer for peer in self.peers if peer.alive]

    @property
    def active(self) -> list[Peer]:
        """The peers whose process lives and is not paused, and whose handle is started."""
        return [peer for peer in self.peers if _status(peer) not in (None, "stopped")]

    def host(self) -> Peer:
        """The active peer that hosts; waits until there is exactly one.

        Raises `AssertionError` when no peer is active, and when the wait takes over 20 seconds.
        """

        def the_one() -> list[Peer]:
            if not self.active:
                raise AssertionError(f"no peer is active, so none can host: {self.peers}")
            hosts = [peer for peer in self.peers if _status(peer) == "host"]
            return hosts if len(hosts) == 1 else []

        def found_instead() -> str:
            return f"not one host among {[(peer, _status(peer)) for peer in self.peers]}"

        return until(the_one, message=found_instead)[0]

    def clients(self) -> list[Peer]:
        """The active peers that do not host."""
        host = self.host()
        return [peer for peer in self.active if peer is not host]

    def settled(self, peers: Iterable[Peer] | None = None) -> dict[str, Any]:
        """The object, once all active peers (or `peers`) hold the same version.

        A client first takes all that its host has sent: a write of the test's own handle, too.
        Writes that are pending come first. No peer should write meanwhile. Raises `AssertionError`
        when they do not reach one version, and when their copies of it differ, even in the order of
        keys.
        """
        chosen = list(peers if peers is not None else self.active)
        if not chosen:
            raise UsageError("no peer is active, so there is no object to compare")
        until(lambda: len({peer.run(_position) for peer in chosen}) == 1, message="versions differ")
        objects = [peer.snapshot() for peer in chosen]
        texts = {repr(each) for each in objects}
        if len(texts) != 1:
            raise AssertionError(f"replicas differ: {texts}")
        found: dict[str, Any] = objects[0]
        return found

    # -- faults ----------------------------------------------------------------------------------

    def kill_host(self) -> Peer:
        """Kill the host with SIGKILL and wait for its end; returns it. `host()` finds the next."""
        host = self.host()
        host.kill()
        return host

    def pause(self, peer: Peer | None = None) -> Peer:
        """Pause a peer, by default the host, with SIGSTOP; returns it. `host` ignores it then."""
        chosen = peer if peer is not None else self.host()
        chosen.pause()
        return chosen

    def resume(self) -> None:
        """Resume all paused peers."""
        for peer in self.living:
            if peer.paused:
                peer.resume()

    def stop(self, peer: Peer | None = None) -> Peer:
        """Call `MemSync.stop` in a peer, by default the host; returns the peer."""
        chosen = peer if peer is not None else self.host()
        chosen.stop()
        return chosen

    def close(self) -> None:
        """Kill all processes and wait for their end."""
        for peer in self.peers:
            peer.dispose()
        for program in self._programs:
            program.kill()
            program.communicate()
        self.peers, self._programs = [], []

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _status(peer: Peer) -> str | None:
    """The status of a peer's handle; None for a dead or paused peer."""
    if peer.paused or not peer.alive:
        return None
    try:
        status: str = peer.status()["status"]
    except PeerDied:
        return None
    return status


def _position(mem: MemSync[Any]) -> tuple[int, int, int]:
    """Epoch, version, and the number of pending writes, which a copy shows beyond its version."""
    if mem.get_status()["status"] == "client":
        with suppress(HostUnresponsiveError):  # a frozen host sends nothing either
            mem.ping(timeout=1)
    status = mem.get_status()
    return status["epoch"], status["version"], status["pending"]
