"""The platform of a peer: its clocks, ids, files, selectors and sockets.

All I/O of the driver's thread goes through here or through a `Wait` (see `task`), so the simulation
in the tests can replace it.
"""

from __future__ import annotations

import os
import resource
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ...clocks import monotonic, wall_ms
from ...errors import RendezvousError
from ...runtime import forks
from ...runtime.native import get_ident
from ..folder import watcher
from ..folder.held_file import Files
from ..folder.records import Address
from ..manager import MemSyncManager
from ..transport.server import MemSyncServer, ServerConfig
from .descriptors import hint, occupy_standard_descriptors, patiently
from .selector import READ, Selector, new_selector
from .spin import processors
from .waker import Waker


def _open_selector() -> Selector:
    with forks.opening:
        selector = new_selector()
        forks.register(selector, selector.close)
        return selector


class Platform:
    """The system on which this process runs."""

    def __init__(self) -> None:
        occupy_standard_descriptors()
        self.files = Files()

    # Not wrapped: each write asks them a dozen times.
    monotonic = staticmethod(monotonic)
    """Seconds on a clock that is never set."""
    wall_ms = staticmethod(wall_ms)
    """The time of day in milliseconds since 1970."""

    def pid(self) -> int:
        return os.getpid()

    def users(self) -> set[int]:
        """The users whose rights this process has, or can get back (it is root or uses setuid)."""
        ids = os.getresuid() if hasattr(os, "getresuid") else (os.getuid(), os.geteuid())
        return set(ids)

    task_id = staticmethod(get_ident)
    """The id of the running task: on a real platform the calling thread's."""

    def processors(self) -> int:
        """The number of processors that this process may use."""
        return processors()

    def new_id(self) -> str:
        """A random id for a peer."""
        return secrets.token_hex(8)

    def new_cluster_id(self) -> str:
        """An id for a new object; ids sort by the time of day at which they were made."""
        return f"{self.wall_ms():012x}-{self.new_id()}"

    def new_waker(self) -> Waker:
        return Waker()

    def new_selector(self, waker: Waker) -> Selector:
        """A selector that the waker can wake, closed in forked children."""
        try:
            selector = patiently(self.files.patience, _open_selector)
        except OSError as error:
            advice = hint(error, "see what the system says")
            raise RendezvousError(
                f"a selector cannot be opened ({error.strerror}): {advice}"
            ) from error
        selector.register(waker, READ)
        return selector

    def drop_selector(self, selector: Selector) -> None:
        forks.release(selector)
        selector.close()

    def watch(self, path: Path, wake: Callable[[], None], way: watcher.Way) -> bool:
        return watcher.watch(path, wake, way)

    def unwatch(self, path: Path, wake: Callable[[], None], way: watcher.Way) -> None:
        watcher.unwatch(path, wake, way)

    def serve(self, address: Address, authkey: bytes, config: ServerConfig) -> MemSyncServer:
        """Listen, but do not accept connections yet; raises `OSError`."""
        return MemSyncManager(address, authkey, config=config).get_server()

    def waits(self) -> int | None:
        """How often this thread gave up its processor in order to wait; None where unknown."""
        if sys.platform == "linux":
            return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        return None

    def other_threads_cpu(self) -> float | None:
        """The CPU seconds of the other threads of this process so far; None where unknown."""
        in_all = time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID)
        return in_all - time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)

    def buggify(self, point: str) -> bool:
        """Whether the simulation wants something rare, but allowed, to happen here."""
        return False
