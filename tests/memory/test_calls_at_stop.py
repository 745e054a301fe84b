"""A planned stop lets methods finish that run, and takes no new calls."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from memsync import MemSync, PeerLostError, shared_peer
from memsync.testing import until


class Stopping:
    """A peer that stops while its methods run, and a client."""

    def __init__(self, engine: str) -> None:
        self.gate = threading.Event()
        self.running = threading.Event()
        self.ended: list[str] = []
        methods = {
            "slow": self.slow,
            "later": self.later,
            "ask": self.ask,
            "back": lambda: self.worker.id,
            "quick": lambda: "worker",
            "count": self.count,
        }
        self.worker: MemSync[Any] = MemSync("obj", rpc=methods, engine=engine)
        self.client: MemSync[Any] = MemSync(
            "obj", rpc={"pass_on": lambda: self.client.call("back")}, engine=engine
        )
        self.stopper = threading.Thread(target=self.worker.stop)

    def slow(self) -> str:
        self.running.set()
        self.gate.wait(60)
        return "done"

    async def later(self) -> str:
        self.running.set()
        while not self.gate.is_set():
            await asyncio.sleep(0.01)
        return "done"

    def ask(self) -> str:
        self.running.set()
        self.gate.wait(60)
        return str(self.worker.call("pass_on"))

    def count(self) -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            self.ended.append("count")

    def begin_to_stop(self) -> None:
        assert self.running.wait(20)
        self.stopper.start()
        calls = self.worker._peer.calls
        assert calls is not None
        until(lambda: calls.service.is_stopping)


@pytest.fixture
def stopping(engine: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stopping]:
    """It would wait for a minute, so that no slow step of a test takes too long."""
    monkeypatch.setattr(shared_peer, "CALLS_GRACE", 60.0)
    each = Stopping(engine)
    with each.worker, each.client:
        yield each
        each.gate.set()
        if each.stopper.ident is not None:
            each.stopper.join(10)


@pytest.mark.parametrize("method", ["slow", "later"])
def test_a_method_that_runs_finishes(stopping: Stopping, method: str) -> None:
    future = stopping.client.rpc.submit(method)
    stopping.begin_to_stop()
    time.sleep(0.05)
    assert not future.done()
    stopping.gate.set()
    assert future.result(5) == "done"
    stopping.stopper.join(20)
    assert not stopping.stopper.is_alive()


def test_it_may_call_others_and_they_may_call_back(stopping: Stopping) -> None:
    own = stopping.worker.id
    future = stopping.client.rpc.submit("ask")
    stopping.begin_to_stop()
    stopping.gate.set()
    assert future.result(5) == own


def test_new_calls_go_elsewhere(stopping: Stopping, engine: str) -> None:
    worker, client = stopping.worker, stopping.client
    future = client.rpc.submit("slow")
    stopping.begin_to_stop()
    with pytest.raises(PeerLostError, match="was not run, because its peer stops") as caught:
        client.call("quick")
    assert caught.value.outcome == "not_applied"
    assert caught.value.peer == worker.id
    with MemSync("obj", rpc={"quick": lambda: "other"}, engine=engine):
        assert [client.call("quick") for _ in range(4)] == ["other"] * 4
        assert [client.rpc.submit("quick").result(5) for _ in range(4)] == ["other"] * 4
        with pytest.raises(PeerLostError, match="stops"):
            client.call("quick", peer=worker.id)
    stopping.gate.set()
    assert future.result(5) == "done"


def test_the_wait_has_an_end(stopping: Stopping, monkeypatch: pytest.MonkeyPatch) -> None:
    """The method would not end before the test does."""
    monkeypatch.setattr(shared_peer, "CALLS_GRACE", 1.5)
    future = stopping.client.rpc.submit("slow")
    assert stopping.running.wait(20)
    began = time.monotonic()
    stopping.begin_to_stop()
    with pytest.raises(PeerLostError) as caught:
        future.result(20)
    assert time.monotonic() - began > 1
    assert caught.value.outcome == "unknown"


def test_streams_are_not_waited_for(stopping: Stopping) -> None:
    stream = stopping.client.call("count")
    assert next(stream) == 0
    began = time.monotonic()
    stopping.worker.stop()
    assert time.monotonic() - began < 30
    until(lambda: stopping.ended == ["count"])
    with pytest.raises(PeerLostError):
        list(stream)


def test_a_new_start_takes_calls_again(stopping: Stopping) -> None:
    future = stopping.client.rpc.submit("slow")
    stopping.begin_to_stop()
    stopping.gate.set()
    assert future.result(5) == "done"
    stopping.stopper.join(5)
    stopping.worker.start()
    assert stopping.client.call("quick") == "worker"
