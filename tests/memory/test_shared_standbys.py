"""Handles of one peer, of which one stands by: no other one waits longer than it was told."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import Any

import pytest

from memsync import MaxWritersError, MemSync, NotStartedError
from memsync.testing import until

Standby = tuple[MemSync[Any], MemSync[Any], "Future[str]"]


@pytest.fixture
def standby(engine: str) -> Iterator[Standby]:
    """The writer, a handle that stands by for ever, and its start."""
    options = {"network": {"maxWriters": 1}, "onMaxWriters": "wait", "timeout": 0.3}
    mem: MemSync[Any] = MemSync("obj", {"n": 0}, options, engine=engine)
    writer: MemSync[Any] = MemSync("obj", {"n": 0}, {**options, "timeout": 20}, engine=engine)
    with writer, ThreadPoolExecutor(1) as pool:
        start = pool.submit(mem.start, timeout=math.inf)
        until(lambda: mem.get_status()["peers"] == 1)
        yield writer, mem, start
        mem.stop()


def until_waiting(copy: MemSync[Any]) -> None:
    """Wait until a start of this peer waits for the one that stands by."""
    until(lambda: copy._peer.turns._waiting)


def copy_of(mem: MemSync[Any]) -> MemSync[Any]:
    other: MemSync[Any] = pickle.loads(pickle.dumps(mem))
    return other


@pytest.mark.parametrize(
    "use",
    [
        lambda mem: mem.start(timeout=0.3),
        lambda mem: copy_of(mem).start(timeout=0.3),
        lambda mem: copy_of(mem).patch({"$inc": {"n": 1}}),
        lambda mem: copy_of(mem).on("connected", print),
    ],
    ids=["the same handle", "a copy", "the first write of a copy", "a callback of a copy"],
)
def test_a_second_start_gives_up_in_its_own_time(
    standby: Standby, use: Callable[[MemSync[Any]], object]
) -> None:
    writer, mem, start = standby
    begun = monotonic()
    with pytest.raises(MaxWritersError, match=r"no place in 0\.3 s: ") as caught:
        use(mem)
    assert monotonic() - begun < 5
    assert caught.value.fields["holders"][0]["id"] == writer.id
    assert not start.done()


def test_a_second_start_returns_with_the_first(standby: Standby) -> None:
    writer, mem, start = standby
    copy = copy_of(mem)
    with ThreadPoolExecutor(2) as pool:
        others = [pool.submit(each.start, timeout=10) for each in (mem, copy)]
        writer.stop()
        assert {each.result(10) for each in (start, *others)} <= {"host", "client"}
        assert copy.id == mem.id
    copy.stop()


def test_a_copy_can_be_stopped_before_its_start_and_during_it(standby: Standby) -> None:
    writer, mem, start = standby
    copy = copy_of(mem)
    copy.stop()
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(copy.start, timeout=20)
        until_waiting(copy)
        copy.stop()
        with pytest.raises(NotStartedError):
            other.result(5)
    assert not start.done()
    assert len(writer.peers) == 1


def test_the_next_start_stands_by_when_the_first_was_stopped(standby: Standby) -> None:
    writer, mem, start = standby
    copy = copy_of(mem)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(copy.start, timeout=20)
        until_waiting(copy)
        mem.stop()
        with pytest.raises(NotStartedError):
            start.result(5)
        until(lambda: len(writer.peers) == 1)
        writer.stop()
        assert other.result(10) in ("host", "client")
    copy.stop()
