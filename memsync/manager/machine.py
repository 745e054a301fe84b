"""What a peer asks of the machine it runs on: time, chance, files, connections, and to wait.

What a peer does on its driver thread is a *life*: a generator that yields a `Wait` wherever it
would block, and is resumed with what came of it. A real machine performs one wait after the other
on the peer's thread (`live`). The simulation in the tests runs the lives of a whole group in one
thread, on a machine of its own making: the same code, with another time, network and folder.
"""

from __future__ import annotations

import os
import resource
import secrets
import selectors
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..errors import RendezvousError
from . import forks, watcher
from .channel import Channel
from .contents import Address
from .files import Files
from .manager import MemSyncManager
from .server import MemSyncServer, Serving
from .shortage import patiently, way_out
from .waker import Waker
from .wire import dial

T = TypeVar("T")

Ready = list[tuple[selectors.SelectorKey, int]]
"""What a selector found: keys, and what each is ready for."""


class Select(NamedTuple):
    """Wait until something is ready, at most so many seconds; gives `Ready`."""

    selector: selectors.BaseSelector
    timeout: float

    def perform(self) -> Ready:
        """Wait on this thread."""
        return self.selector.select(self.timeout)


class Pause(NamedTuple):
    """Wait to be woken, at most so many seconds."""

    waker: Waker
    timeout: float

    def perform(self) -> None:
        """Wait on this thread."""
        self.waker.pause(self.timeout)


class Readable(NamedTuple):
    """Wait until there is something to read, at most so many seconds; gives whether there is."""

    channel: Channel
    timeout: float

    def perform(self) -> bool:
        """Wait on this thread."""
        return self.channel.wait_readable(self.timeout)


class Dial(NamedTuple):
    """Connect to a host and ask to be attached; gives the channel, or raises as `wire.dial`."""

    address: Address
    authkey: bytes
    hello: bytes
    timeout: float

    def perform(self) -> Channel:
        """Wait on this thread."""
        return dial(self.address, self.authkey, self.hello, timeout=self.timeout)


Wait = Select | Pause | Readable | Dial
Life = Generator[Wait, Any, T]
"""What is done in steps, with waits between them; returns a `T`."""


def _open_selector() -> selectors.BaseSelector:
    with forks.opening:
        selector = selectors.DefaultSelector()
        forks.register(selector, selector.close)
        return selector


class Machine:
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

    def new_id(self) -> str:
        """An id for a peer, used once."""
        return secrets.token_hex(8)

    def new_network(self) -> str:
        """An id for a network, used once; ids sort by the time of day of the founding."""
        return f"{self.wall_ms():012x}-{self.new_id()}"

    def new_waker(self) -> Waker:
        """What ends a wait of a life from elsewhere."""
        return Waker()

    def new_selector(self, waker: Waker) -> selectors.BaseSelector:
        """A selector that the waker can wake, closed in forked children."""
        try:
            selector = patiently(self.files.patience, _open_selector)
        except OSError as error:
            advice = way_out(error, "see what the system says")
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

    def serve(self, address: Address, authkey: bytes, serving: Serving) -> MemSyncServer:
        """Listen, but do not accept connections yet; raises `OSError`."""
        return MemSyncManager(address, authkey, serving=serving).get_server()

    def waits(self) -> int | None:
        """How often this thread has waited for something other than a processor; None: unknown."""
        if sys.platform == "linux":
            return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        return None

    def misbehaves(self, spot: str) -> bool:
        """Whether to do what is allowed but rare here; a real machine never asks for it."""
        return False

    def live(self, life: Life[T]) -> T:
        """Perform a life's waits on this thread until it ends; returns what it returns."""
        try:
            wait = next(life)
            while True:
                try:
                    result = wait.perform()
                except BaseException as error:
                    wait = life.throw(error)
                else:
                    wait = life.send(result)
        except StopIteration as end:
            value: T = end.value
            return value
