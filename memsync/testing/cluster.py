"""Peers in processes of their own, driven by a test: start, tell, kill, wait for conditions.

They are real processes, so that they can really die. By default they are forked from one clean
server process, which has imported memsync but never used it: a peer costs milliseconds instead of
an interpreter's start. A peer whose test is gone sees the end of its pipe and ends, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from multiprocessing import get_all_start_methods, get_context
from typing import Any

from ..errors import UsageError
from ..handle import MemSync
from ..options import check_name
from .conditions import until
from .peer import Peer, PeerDied, preload

NAME = "obj"


class Cluster:
    """The peers of one test, in the folder that ``MEMSYNC_DIR`` names; all are killed at its end.

    `name` is the name of their object. `method` is how their processes are made: ``forkserver``,
    ``spawn`` or ``fork``. ``peers`` are all peers so far, in the order in which they were made, the
    dead included. A context manager: leaving it kills the peers.

    Raises `UsageError` for a name or a method that there is not.
    """

    def __init__(self, name: str = NAME, *, method: str = "forkserver") -> None:
        self.name = check_name(name)
        if method not in get_all_start_methods():
            known = ", ".join(get_all_start_methods())
            raise UsageError(f"there is no start method {method!r}: choose one of {known}")
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
        start: bool = True,
        folder: str | os.PathLike[str] | None = None,
    ) -> Peer:
        """One more process, with the environment of the test.

        `data` and `options` are those of its handle, `name` and `folder` may differ from those of
        the others. The handle is started, unless `start` is false. Raises what `MemSync` and its
        `start` raise.
        """
        environment = dict(os.environ)
        if folder is not None:
            environment["MEMSYNC_DIR"] = os.fspath(folder)
        peer = Peer(self._context, name or self.name, data, options, environment)
        self.peers.append(peer)
        if start:
            peer.start()
        return peer

    def start(self, number: int, data: Any = None, options: Any = None) -> list[Peer]:
        """So many peers more, started side by side; the host is the first of `peers`."""
        if not isinstance(number, int) or number < 0:
            raise UsageError(f"the number of peers must be an int from 0 on, not {number!r}")
        first = [self.peer(data, options)] if number and not self.living else []
        rest = [self.peer(data, options, start=False) for _ in range(number - len(first))]
        for peer, ticket in [(peer, peer.begin(MemSync.start)) for peer in rest]:
            peer.result(ticket)
        return first + rest

    def script(self, source: str, *arguments: str, optimize: bool = False) -> subprocess.Popen[str]:
        """A Python program of its own, as a user would write it; its pipes carry text.

        It is killed with the peers. With `optimize` it runs under ``python -O``.
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

    # -- looking at them -------------------------------------------------------------------------

    @property
    def living(self) -> list[Peer]:
        """The peers whose process has not ended, paused ones included."""
        return [peer for peer in self.peers if peer.alive]

    @property
    def active(self) -> list[Peer]:
        """The peers that take part: the process lives and is not paused, the handle is started."""
        return [peer for peer in self.peers if _status(peer) not in (None, "stopped")]

    def host(self) -> Peer:
        """The one active peer that hosts; waits until there is exactly one.

        Raises `AssertionError` when no peer is active, or when there is not one host in time.
        """

        def the_one() -> list[Peer]:
            if not self.active:
                raise AssertionError(f"no peer is active, so nobody can host: {self.peers}")
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
        """The object, once all active peers hold the same version of it; only writers' silence
        makes that last.

        Raises `AssertionError` when they do not come to one version, or when they do and their
        copies differ, be it in the order of keys. With `peers` only those are looked at.
        """
        chosen = list(peers if peers is not None else self.active)
        if not chosen:
            raise UsageError("no peer is active, so there is no object to look at")
        until(lambda: len({_position(peer) for peer in chosen}) == 1, message="versions differ")
        objects = [peer.snapshot() for peer in chosen]
        texts = {repr(each) for each in objects}
        if len(texts) != 1:
            raise AssertionError(f"replicas differ: {texts}")
        found: dict[str, Any] = objects[0]
        return found

    # -- hurting them ----------------------------------------------------------------------------

    def kill_host(self) -> Peer:
        """SIGKILL for the host; returns it when its process is gone. The next is `host()`."""
        host = self.host()
        host.kill()
        return host

    def pause(self, peer: Peer | None = None) -> Peer:
        """SIGSTOP for a peer, the host by default; returns it. `host` and others pass it over."""
        chosen = peer if peer is not None else self.host()
        chosen.pause()
        return chosen

    def resume(self) -> None:
        """Let all paused peers go on."""
        for peer in self.living:
            if peer.paused:
                peer.resume()

    def stop(self, peer: Peer | None = None) -> Peer:
        """Stop the handle of a peer, the host by default, as a program would; returns the peer."""
        chosen = peer if peer is not None else self.host()
        chosen.stop()
        return chosen

    def close(self) -> None:
        """Kill all processes and wait until they are gone; what a test's end does."""
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
    """The status of a peer's handle; None for a peer that is dead or paused and cannot tell."""
    if peer.paused or not peer.alive:
        return None
    try:
        status: str = peer.status()["status"]
    except PeerDied:
        return None
    return status


def _position(peer: Peer) -> tuple[int, int]:
    status = peer.status()
    return status["epoch"], status["version"]
