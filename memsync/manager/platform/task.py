"""Tasks: what is done in steps, with waits in between.

A *task* is a generator that yields a `Wait` wherever it would block, and is resumed with what came
of it. On a real platform `live` performs one wait after the other on the calling thread. The
simulation in the tests runs the tasks of a whole group in one thread, on a platform of its own: the
same code, with another time, network and folder.
"""

from __future__ import annotations

import selectors
from collections.abc import Generator
from typing import Any, NamedTuple, TypeVar

from ..folder.records import Address
from ..timing import TIMING
from ..transport.channel import Channel
from ..transport.dial import dial
from .waker import Waker

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


class Receive(NamedTuple):
    """Wait for bytes, at most so many seconds; gives what `Channel.receive` does, and raises so."""

    channel: Channel
    timeout: float

    def perform(self) -> list[bytes | memoryview]:
        """Wait on this thread."""
        if self.timeout > TIMING.receive:
            return self.channel.receive(wait=True)
        return self.channel.receive() if self.channel.wait_readable(self.timeout) else []


class Dial(NamedTuple):
    """Connect to a host and ask to be attached; gives the channel, or raises as `wire.dial`."""

    address: Address
    authkey: bytes
    hello: bytes
    timeout: float

    def perform(self) -> Channel:
        """Wait on this thread."""
        return dial(self.address, self.authkey, self.hello, timeout=self.timeout)


Wait = Select | Pause | Readable | Receive | Dial
Task = Generator[Wait, Any, T]
"""What is done in steps, with waits between them; returns a `T`."""


def run_task(task: Task[T]) -> T:
    """Perform a task's waits on this thread until it ends; returns what it returns."""
    try:
        wait = next(task)
        while True:
            try:
                result = wait.perform()
            except BaseException as error:
                wait = task.throw(error)
            else:
                wait = task.send(result)
    except StopIteration as end:
        value: T = end.value
        return value
