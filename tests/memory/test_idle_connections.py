"""Connections of calls are closed when nobody uses them, and opened again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from memsync import MemSync
from memsync.rpc import connections
from memsync.rpc.connections import Connections
from memsync.testing import until


class Pair:
    """A peer with methods, and a client."""

    def __init__(self, engine: str) -> None:
        self.gate = threading.Event()
        methods = {
            "echo": lambda value: value,
            "nap": time.sleep,
            "wait": self.gate.wait,
            "count": self.count,
        }
        self.worker: MemSync[Any] = MemSync("obj", rpc=methods, engine=engine)
        self.client: MemSync[Any] = MemSync("obj", engine=engine)

    def count(self) -> Iterator[int]:
        yield from range(10**9)

    def connections(self) -> Connections:
        assert self.client._peer.calls is not None
        return self.client._peer.calls._connections

    def is_connected(self) -> bool:
        return self.connections().has_caller(self.worker.id)


@pytest.fixture
def pair(engine: str) -> Iterator[Pair]:
    each = Pair(engine)
    with each.worker, each.client:
        assert each.client.call("echo", 1) == 1
        yield each


def test_a_connection_that_is_not_used_is_closed(pair: Pair) -> None:
    assert pair.connections().close_idle() == 1  # it was used since the last time
    assert pair.is_connected()
    assert pair.connections().close_idle() == 0
    assert not pair.is_connected()
    assert pair.worker._peer.calls is not None
    service = pair.worker._peer.calls.service
    until(lambda: not service.callees)  # the other end knows
    assert pair.client.call("echo", 2) == 2
    assert pair.is_connected()


def test_a_call_or_a_stream_keeps_it(pair: Pair) -> None:
    future, stream = pair.client.rpc.submit("nap", 0.3), pair.client.call("count")
    for _ in range(3):
        assert pair.connections().close_idle() == 1
    assert future.result(5) is None
    assert next(stream) == 0
    for _ in range(3):
        assert pair.connections().close_idle() == 1
    stream.close()
    until(lambda: pair.connections().close_idle() == 0)


def test_a_call_at_the_moment_of_the_end_goes_over_the_next_one(pair: Pair) -> None:
    """It is never lost, and never run twice."""
    is_over = threading.Event()

    def close() -> None:
        while not is_over.is_set():
            pair.connections().close_idle()

    thread = threading.Thread(target=close)
    thread.start()
    try:
        for number in range(60):
            assert pair.client.call("echo", number) == number
            assert pair.client.rpc.submit("echo", number).result(5) == number
            assert list(pair.client.call_all("echo", number).values()) == [number]
    finally:
        is_over.set()
        thread.join()


def test_a_timer_does_it(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.05)
    pair = Pair(engine)
    with pair.worker, pair.client:
        for _ in range(2):
            with pair.client.call("count") as stream:
                assert next(stream) == 0
                assert pair.is_connected()
            until(lambda: not pair.is_connected())


def test_there_are_not_too_many(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS_MAX", 2)
    pair = Pair(engine)
    others: list[MemSync[Any]] = [MemSync("obj", engine=engine) for _ in range(4)]
    with pair.worker, pair.client, others[0], others[1], others[2], others[3]:
        future = pair.client.rpc.submit("wait")
        for other in others:
            assert pair.client.run(abs, -1, on=other.id) == 1
        found = [each.id for each in others if pair.connections().has_caller(each.id)]
        assert found == [others[3].id]
        assert pair.is_connected()  # it is in use
        assert future.cancel()
        pair.gate.set()
