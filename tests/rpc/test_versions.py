"""The caller gets an answer once it has seen what the callee had seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memsync import RpcTimeoutError
from memsync.clocks import monotonic
from memsync.rpc.versions import Pair
from memsync.runtime.entry_waiters import EntryWaiters
from memsync.testing import until

from .links import Peer, give_time, peers


class Versions:
    """A peer's copy that goes on when the test says so."""

    def __init__(self, version: int = 0) -> None:
        self.version = version
        self.waiters = EntryWaiters()

    def advance(self, version: int) -> None:
        self.version = version
        self.waiters.advanced()

    def pair(self) -> Pair:
        return 1, self.version

    pair_of_process = pair

    def wait(self, pair: Pair, seconds: float) -> bool:
        return self.waiters.wait_until(lambda: self.pair() >= pair, seconds)

    def call_at(self, pair: Pair, action: Callable[[], None]) -> None:
        self.waiters.call_when(lambda: self.pair() >= pair, action)

    def has_stopped(self) -> bool:
        return self.waiters.ended


class Both:
    """A caller whose copy is at version 5, and a callee whose copy is at 7."""

    def __init__(self) -> None:
        self.here = Versions(5)
        there = Versions(7)
        methods = {"get": lambda: 1, "fail": [].pop, "count": self.count, "go_on": self.go_on}
        self.peers = Peer("here", versions=self.here), Peer("there", methods, versions=there)
        self._there = there
        self.caller = self.peers[0].connect_to(self.peers[1])

    def go_on(self) -> None:
        self._there.version += 1

    def count(self) -> Iterator[int]:
        for number in range(3):
            yield number
            self.go_on()


@pytest.fixture
def both() -> Iterator[Both]:
    pair = Both()
    with peers(*pair.peers):
        yield pair


def test_an_answer_that_is_not_ahead_comes_at_once(both: Both) -> None:
    both.here.version = 7
    assert both.caller.call("get") == 1
    assert both.here.waiters.waiting == []


def test_a_future_is_done_when_the_version_is_there(both: Both) -> None:
    future = both.caller.start("get", timeout=60)
    until(lambda: both.here.waiters.waiting)
    both.here.advance(6)
    assert not future.done()
    both.here.advance(7)
    assert future.done()
    assert future.result(0) == 1
    assert both.here.waiters.waiting == []


def test_a_call_waits_for_the_version(both: Both) -> None:
    timer = threading.Timer(0.1, both.here.advance, (7,))
    began = monotonic()
    timer.start()
    assert both.caller.call("get") == 1
    assert monotonic() - began > 0.09
    timer.join()


def test_at_the_deadline_the_error_says_that_it_has_run(both: Both) -> None:
    for is_awaited in (True, False):

        def attempt(seconds: float, is_awaited: bool = is_awaited) -> bool:
            future = both.caller.start("get", timeout=seconds, is_awaited=is_awaited)
            with pytest.raises(RpcTimeoutError) as caught:
                future.result()
            return has_run(caught.value)

        give_time(attempt)
    both.here.advance(7)  # drops what waited
    until(lambda: both.here.waiters.waiting == [])


def has_run(error: RpcTimeoutError) -> bool:
    """Whether the answer was there at the deadline."""
    has_answered = "has run and has answered" in str(error)
    assert error.outcome == ("applied" if has_answered else "unknown")
    return has_answered


def test_an_exception_is_raised_at_the_deadline_all_the_same(both: Both) -> None:
    def attempt(seconds: float) -> bool:
        began = monotonic()
        with pytest.raises((IndexError, RpcTimeoutError)) as caught:
            both.caller.call("fail", timeout=seconds)
        assert monotonic() - began > 0.9 * seconds
        return caught.type is IndexError

    give_time(attempt)


@pytest.mark.parametrize("end", ["lost", "stopped", "cancelled"])
def test_what_ends_the_wait(both: Both, end: str) -> None:
    future = both.caller.start("get", timeout=60)
    until(lambda: both.here.waiters.waiting)
    if end == "cancelled":
        assert future.cancel()
        return
    both.peers[0].links[0].close()  # the answer is here, so its sender is not needed
    time.sleep(0.05)
    assert not future.done()
    if end == "lost":
        both.here.advance(7)
    else:
        both.here.waiters.end()
    assert future.result(0) == 1


def test_each_item_of_a_stream_waits_for_its_version(both: Both) -> None:
    stream = both.caller.call("count")
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(stream))
    thread.start()
    for version in (7, 8, 9):
        time.sleep(0.05)
        assert len(found) == version - 7
        both.here.advance(version)
        until(lambda: len(found) == version - 6)  # noqa: B023  # it is called at once
    assert thread.is_alive()
    both.here.advance(10)
    thread.join(5)
    assert not thread.is_alive()


def test_a_stream_ends_at_its_deadline(both: Both) -> None:
    def attempt(seconds: float) -> bool:
        with pytest.raises(RpcTimeoutError) as caught:
            next(stream := both.caller.call("count", timeout=seconds))
        return has_run(caught.value) and list(stream) == []

    give_time(attempt)
