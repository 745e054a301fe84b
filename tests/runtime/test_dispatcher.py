"""The dispatcher's queue: bounded by the number of its calls, and by the bytes of their patches."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from memsync import MemSync
from memsync.runtime.dispatcher import QUEUE_MAX, QUEUE_MAX_BYTES, Dispatcher
from memsync.testing import until


class Slow:
    """A callback that does not return before `go_on`."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.gaps: list[int] = []
        self.may_go_on = threading.Event()

    def __call__(self, argument: Any) -> None:
        self.seen.append(argument)
        self.may_go_on.wait(20)


@pytest.fixture
def slow() -> Iterator[Slow]:
    """It goes on at the end."""
    slow = Slow()
    yield slow
    slow.may_go_on.set()


@pytest.fixture
def dispatcher(slow: Slow) -> Iterator[Dispatcher]:
    """A dispatcher whose thread is in the slow callback."""
    dispatcher = Dispatcher()
    dispatcher.on("news", slow)
    dispatcher.on("gap", slow.gaps.append)
    dispatcher.announce("news", "first", size=QUEUE_MAX_BYTES)
    until(lambda: slow.seen)
    yield dispatcher
    slow.may_go_on.set()
    dispatcher.stop(20)


@pytest.mark.parametrize(("size", "places"), [(0, QUEUE_MAX), (1 << 10, QUEUE_MAX), (1 << 20, 16)])
def test_g14_a_queue_is_bounded_by_number_and_by_bytes(
    dispatcher: Dispatcher, slow: Slow, size: int, places: int
) -> None:
    for number in range(QUEUE_MAX + 5):
        dispatcher.announce("news", number, size=size)
    slow.may_go_on.set()
    until(lambda: slow.gaps)
    until(lambda: len(slow.seen) == places + 1)
    assert slow.seen == ["first", *range(places)]
    assert slow.gaps == [QUEUE_MAX + 5 - places]
    dispatcher.announce("news", "after", size=size)
    until(lambda: slow.seen[-1] == "after")


def test_what_is_larger_than_the_limit_is_told_alone(dispatcher: Dispatcher, slow: Slow) -> None:
    dispatcher.announce("news", "large", size=10 * QUEUE_MAX_BYTES)
    dispatcher.announce("news", "dropped", size=1)
    dispatcher.announce("news", "little")
    slow.may_go_on.set()
    until(lambda: slow.gaps)
    until(lambda: len(slow.seen) == 3)
    assert slow.seen == ["first", "large", "little"]
    assert slow.gaps == [1]


def test_patches_are_announced_with_their_bytes(slow: Slow) -> None:
    with MemSync[Any]("obj", {}, engine="memory") as mem:
        mem.on("received_patches", slow)
        mem.on("gap", slow.gaps.append)
        mem.patch({"$set": {"n": 0}})
        until(lambda: slow.seen)
        for number in range(30):
            mem.patch({"$set": {"s": str(number) + "x" * (QUEUE_MAX_BYTES // 10)}})
        slow.may_go_on.set()
        until(lambda: slow.gaps)
        until(lambda: len(slow.seen) == 10)
        assert slow.gaps == [21]


def test_no_call_is_lost_or_overtaken_while_the_thread_ends_and_starts() -> None:
    dispatcher, is_over = Dispatcher(), threading.Event()
    calls: list[tuple[int, int]] = []
    inside: list[int] = []
    most_inside = [0]  # at once

    def note(caller: int, number: int) -> None:
        inside.append(caller)
        most_inside[0] = max(most_inside[0], len(inside))
        calls.append((caller, number))
        inside.pop()

    queued = [0, 0, 0]

    def queue(caller: int) -> None:
        while not is_over.is_set():
            if len(dispatcher._queue) < 100:
                dispatcher.call_surely(note, caller, queued[caller])
                queued[caller] += 1

    callers = [threading.Thread(target=queue, args=(caller,)) for caller in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in callers:
            thread.start()
        for _ in range(300):
            dispatcher.stop(0)
            dispatcher.open()
        is_over.set()
        for thread in callers:
            thread.join()
    finally:
        is_over.set()
        sys.setswitchinterval(interval)
    dispatcher.stop(20)
    for caller in range(3):
        assert [number for each, number in calls if each == caller] == [*range(queued[caller])]
    assert most_inside == [1]
