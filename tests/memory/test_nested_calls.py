"""Errors that a method gets from its own calls and writes, as its caller sees them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from memsync import (
    ConditionError,
    MemSync,
    MemSyncError,
    NoSuchMethodError,
    PeerLostError,
    RpcTimeoutError,
)
from memsync.testing import until
from tests.rpc.links import give_time

Pair = tuple[MemSync[Any], MemSync[Any]]


@pytest.fixture
def pair(engine: str) -> Iterator[Pair]:
    """A peer with methods that fail, and one without."""

    worker: MemSync[Any]

    def stream() -> Iterator[int]:
        yield 1
        worker.call("nothing")

    async def task() -> None:
        await asyncio.wrap_future(worker.rpc.submit("nothing"))

    methods = {
        "missing": lambda: worker.call("nothing"),
        "lost": lambda: worker.call("missing", peer="0123456789abcdef"),
        "refused": lambda: worker.patch({"$inc": {"n": 1}}, where={"n": -1}),
        "deep": lambda: worker.call("missing", peer=worker.id),
        "stream": stream,
        "task": task,
    }
    worker = MemSync("obj", {"n": 0}, rpc=methods, engine=engine)
    with worker, MemSync("obj", engine=engine) as client:
        yield worker, client


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("missing", NoSuchMethodError),
        ("lost", PeerLostError),
        ("refused", ConditionError),
        ("task", NoSuchMethodError),
        ("deep", NoSuchMethodError),
    ],
)
def test_the_outcome_is_that_of_the_outer_call(
    pair: Pair, method: str, kind: type[MemSyncError]
) -> None:
    worker, client = pair
    with pytest.raises(kind) as caught:
        client.call(method)
    _check(caught.value, worker.id)
    future = client.rpc.submit(method)
    with pytest.raises(kind) as caught:
        future.result(5)
    _check(caught.value, worker.id)
    _check(client.call_all(method)[worker.id], worker.id)


def test_in_a_stream_as_well(pair: Pair) -> None:
    worker, client = pair
    stream = client.call("stream")
    assert next(stream) == 1
    with pytest.raises(NoSuchMethodError) as caught:
        next(stream)
    _check(caught.value, worker.id)


def test_a_call_that_was_not_run_keeps_its_outcome(pair: Pair) -> None:
    _, client = pair
    with pytest.raises(NoSuchMethodError) as caught:
        client.call("nothing")
    assert caught.value.outcome == "not_applied"
    assert not hasattr(caught.value, "__notes__")


def _check(error: MemSyncError, peer: str) -> None:
    assert error.outcome == "applied"
    (note,) = error.__notes__
    assert f"on peer {peer} has run" in note
    assert "outcome 'not_applied'" in note


def test_a_call_that_ran_out_of_time_in_a_method_is_no_news(
    engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    begun: list[int] = []
    ended: list[int] = []

    def wait() -> None:
        while not mem.rpc.current().cancelled:
            time.sleep(0.01)

    def outer(depth: int) -> None:
        begun.append(depth)
        try:
            mem.call("outer", depth - 1) if depth else mem.call("wait")
        finally:
            ended.append(depth)

    mem: MemSync[Any] = MemSync("obj", rpc={"wait": wait, "outer": outer}, engine=engine)
    with mem:

        def attempt(seconds: float) -> bool:
            with pytest.raises(RpcTimeoutError):
                mem.call("outer", 3, timeout=seconds)
            return 0 in begun

        give_time(attempt)
        until(lambda: len(ended) == len(begun))
    assert [each.message for each in caplog.records if each.levelname != "DEBUG"] == []
