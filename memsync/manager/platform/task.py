"""Tasks: work done in steps, with waits in between.

A *task* is a generator that yields a `Wait` wherever it would block, and is resumed with the result
of that wait. On a real platform `run_task` performs one wait after the other on the calling thread.
The simulation in the tests runs the tasks of a whole group in one thread, on a platform of its own:
the same code, with virtual time, a virtual network and a virtual folder.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, TypeVar

from ..folder.records import Address
from ..timing import TIMING
from ..transport.channel import Channel
from ..transport.dial import dial
from .selector import Ready, Selector
from .spin import NO_SPIN, Spin
from .waker import Waker

T = TypeVar("T")


class Select(NamedTuple):
    """Wait until a selector finds something, at most `timeout` seconds; results in `Ready`."""

    selector: Selector
    timeout: float
    spin: Spin = NO_SPIN

    def perform(self) -> Ready:
        return self.spin.wait(self.selector.select, self.timeout)


class Pause(NamedTuple):
    """Wait to be woken, at most `timeout` seconds."""

    waker: Waker
    timeout: float

    def perform(self) -> None:
        self.waker.pause(self.timeout)


class Readable(NamedTuple):
    """Wait until a channel is readable, at most `timeout` seconds; results in whether it is."""

    channel: Channel
    timeout: float

    def perform(self) -> bool:
        return self.channel.wait_readable(self.timeout)


class Receive(NamedTuple):
    """Wait for bytes, at most `timeout` seconds; returns and raises as `Channel.receive` does."""

    channel: Channel
    timeout: float
    spin: Spin = NO_SPIN

    def perform(self) -> list[memoryview]:
        timeout = min(self.timeout, TIMING.receive)
        is_readable = self.spin.wait(self.channel.wait_readable, timeout)
        return self.channel.receive() if is_readable else []


class Dial(NamedTuple):
    """Connect to a host and ask to be attached; returns and raises as `dial` does."""

    address: Address
    authkey: bytes
    hello: bytes
    timeout: float

    def perform(self) -> Channel:
        return dial(self.address, self.authkey, self.hello, timeout=self.timeout)


Wait = Select | Pause | Readable | Receive | Dial
Task = Generator[Wait, Any, T]
"""A generator of waits that returns a `T`."""


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
