"""Observers that write what they observe: chains that end, and those that would not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from memsync import MemSync
from memsync.runtime import feedback
from memsync.testing import until

WARNING = "an observer keeps itself going"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log warns after 20 rounds."""
    monkeypatch.setattr(feedback, "ROUNDS_MAX", 20)
    monkeypatch.setattr(feedback, "PAUSE", 0.05)


def add(mem: MemSync[Any], field: str) -> Callable[[Any], object]:
    return lambda value: mem.patch({"$inc": {field: 1}})


def own_value(mem: MemSync[Any]) -> None:
    mem.observe("n", add(mem, "n"))


def own_result(mem: MemSync[Any]) -> None:
    mem.observe(lambda data: data["n"], add(mem, "n"))


def in_the_function(mem: MemSync[Any]) -> None:
    def reads_and_writes(data: Any) -> bool:
        mem.submit({"$inc": {"n": 1}})
        return bool(data["n"] > -1)  # the same each time

    mem.observe(reads_and_writes, print)


def each_other(mem: MemSync[Any]) -> None:
    mem.observe("n", add(mem, "m"))
    mem.observe("m", add(mem, "n"))


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("begin", [own_value, own_result, in_the_function, each_other])
def test_a_chain_that_does_not_end_is_named_and_slowed_down(
    engine: str, begin: Callable[[MemSync[Any]], None], caplog: pytest.LogCaptureFixture
) -> None:
    with MemSync("obj", {"n": 0, "m": 0, "other": 0}, engine=engine) as mem:
        begin(mem)
        mem.patch({"$inc": {"n": 1}})
        until(lambda: WARNING in caplog.text)
        called = threading.Event()
        mem.observe("other", lambda value: called.set())
        started = time.monotonic()
        before = mem.data["n"]
        mem.patch({"$inc": {"other": 1}})
        assert called.wait(5)  # the others are called meanwhile
        until(lambda: mem.data["n"] > before)  # it goes on
        made = mem.data["n"] - before
        rounds = (time.monotonic() - started) / feedback.PAUSE + 2
        assert made <= 3 * rounds
    lines = [line for line in caplog.text.splitlines() if WARNING in line]
    assert 1 <= len(lines) <= 2
    assert begin.__name__ in lines[0] or "add.<locals>" in lines[0]


@pytest.mark.usefixtures("few")
def test_a_chain_that_ends_is_none_of_the_logs_business(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def limit(value: int) -> None:
        calls.append(value)
        mem.patch({"$set": {"n": min(value, 10)}})

    with MemSync("obj", {"n": 0}, engine="memory") as mem:
        mem.observe("n", limit)
        for value in range(11, 61):
            mem.patch({"$set": {"n": value}})
            until(lambda: mem.data["n"] == 10)
    assert set(calls) - {10}
    assert WARNING not in caplog.text


@pytest.mark.usefixtures("few")
def test_an_observer_with_news_each_time_is_no_chain(caplog: pytest.LogCaptureFixture) -> None:
    """It writes into what it observes, and others write there all the time."""
    with MemSync("obj", {"n": 0, "seen": 0}, engine="memory") as mem:
        calls: list[int] = []

        def note(value: Any) -> None:
            calls.append(value["n"])
            mem.patch({"$set": {"seen": value["n"]}})

        mem.observe("", note)
        for number in range(1, 100):
            mem.patch({"$set": {"n": number}})
            until(lambda number=number: mem.data["seen"] == number)  # type: ignore[misc]
    assert len(calls) > 50
    assert WARNING not in caplog.text
