"""Writes that wait for their write concern: each is resolved once, whoever comes first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from memsync import WriteConcernError
from memsync.replication.entries import Propose
from memsync.replication.write_concern import ConcernProgress
from memsync.runtime.acknowledgements import AckWaiters
from memsync.runtime.awaited_write import AwaitedWrite
from memsync.runtime.futures import WriteFuture


def call_at_once(function: Callable[..., Any], *arguments: Any) -> None:
    function(*arguments)


def new_write(number: int = 1) -> AwaitedWrite:
    """A write that asks for two members, and has a future."""
    proposal = Propose(number, 1, 0, 1, 0, "patch", {"$inc": {"n": 1}}, w=2)
    return AwaitedWrite(proposal, 0.0, WriteFuture(call_at_once), b"")


def future_of(write: AwaitedWrite) -> WriteFuture:
    assert write.future is not None
    return write.future


MET = ConcernProgress(1, 2, 2, True)


@pytest.mark.parametrize("first", ["the host", "the caller"])
def test_a_write_is_resolved_once(first: str) -> None:
    ended: list[AwaitedWrite] = []
    waiters, write = AckWaiters(threading.RLock(), ended.extend), new_write()
    future = future_of(write)
    waiters.add(write, 7)
    if first == "the host":
        waiters.reached(MET)
        waiters.give_up(write)
        assert future.result() == 7
    else:
        waiters.give_up(write)
        waiters.reached(MET)
        assert isinstance(future.exception(), WriteConcernError)
    assert ended == [write]


def test_a_write_that_was_taken_back_is_not_given_up() -> None:
    waiters, write = AckWaiters(threading.RLock(), lambda write: None), new_write()
    waiters.add(write, 7)
    assert [outcome.write for outcome in waiters.pop_all()] == [write]
    waiters.give_up(write)
    assert not write.done


def test_two_threads_that_end_a_write_at_one_moment_resolve_it_once() -> None:
    for _ in range(300):
        ended: list[AwaitedWrite] = []
        waiters, write = AckWaiters(threading.RLock(), ended.extend), new_write()
        waiters.add(write, 7)
        barrier = threading.Barrier(2, timeout=10)

        def race(end: Callable[[Any], None], argument: Any, barrier: threading.Barrier) -> None:
            barrier.wait()
            end(argument)

        with ThreadPoolExecutor(2) as pool:
            ends = [
                pool.submit(race, waiters.reached, MET, barrier),
                pool.submit(race, waiters.give_up, write, barrier),
            ]
        for end in ends:
            end.result()
        assert ended == [write]
        assert write.done
