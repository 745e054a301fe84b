"""What a peer asks of the machine it runs on: time, chance, files, connections, and to wait.

What a peer does on its driver thread is a task*: a generator that yields a `Wait` wherever it
would block, and is resumed with what came of it. A real machine performs one wait after the other
on the peer's thread (`live`). The simulation in the tests runs the tasks of a whole group in one
thread, on a machine of its own making: the same code, with another time, network and folder.
"""

from __future__ import annotations

import os
import resource
import secrets
import selectors
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ...errors import RendezvousError
from ...runtime import forks
from ..folder import watcher
from ..folder.held_file import Files
from ..folder.records import Address
from ..manager import MemSyncManager
from ..transport.server import MemSyncServer, ServerConfig
from .descriptors import hint, patiently
from .waker import Waker


def _open_selector() -> selectors.BaseSelector:
    with forks.opening:
        selector = selectors.DefaultSelector()
        forks.register(selector, selector.close)
        return selector


class Platform:
    """The machine this process runs on."""

    def __init__(self) -> None:
        self.files = Files()

    def monotonic(self) -> float:
        """Seconds on a clock that is never set."""
        return time.monotonic()

    def wall_ms(self) -> int:
        """Milliseconds since 1970, as the machine believes."""
        return time.time_ns() // 1_000_000

    def pid(self) -> int:
        """The number of this process."""
        return os.getpid()

    def task_id(self) -> int:
        """Which task is running: the calling thread's number."""
        return threading.get_ident()

    def new_id(self) -> str:
        """An id for a peer, used once."""
        return secrets.token_hex(8)

    def new_cluster_id(self) -> str:
        """An id for a network, used once; ids sort by the time of day of the founding."""
        return f"{self.wall_ms():012x}-{self.new_id()}"

    def new_waker(self) -> Waker:
        """What ends a wait of a task from elsewhere."""
        return Waker()

    def new_selector(self, waker: Waker) -> selectors.BaseSelector:
        """A selector that the waker can wake, closed in forked children."""
        try:
            selector = patiently(self.files.patience, _open_selector)
        except OSError as error:
            advice = hint(error, "see what the system says")
            raise RendezvousError(f"no peer can be served ({error.strerror}): {advice}") from error
        selector.register(waker, selectors.EVENT_READ)
        return selector

    def drop_selector(self, selector: selectors.BaseSelector) -> None:
        """Close a selector."""
        forks.release(selector)
        selector.close()

    def watch(self, path: Path, wake: Callable[[], None], way: watcher.Way) -> None:
        """Call `wake` when something changes in a folder; to be repeated (see `watcher`)."""
        watcher.watch(path, wake, way)

    def unwatch(self, path: Path, wake: Callable[[], None], way: watcher.Way) -> None:
        """Undo `watch`."""
        watcher.unwatch(path, wake, way)

    def serve(self, address: Address, authkey: bytes, config: ServerConfig) -> MemSyncServer:
        """Listen, but do not accept connections yet; raises `OSError`."""
        return MemSyncManager(address, authkey, config=config).get_server()

    def waits(self) -> int | None:
        """How often this thread has waited for something other than a processor; None: unknown."""
        if sys.platform == "linux":
            return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        return None

    def buggify(self, point: str) -> bool:
        """Whether to do what is allowed but rare here; a real machine never asks for it."""
        return False
