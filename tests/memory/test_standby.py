"""Peers of one process that stand by for a writer's place; `process/test_standby.py` has more."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from memsync import MaxWritersError, MemSync, NotStartedError, UsageError
from memsync.testing import until

STANDBY: dict[str, Any] = {
    "engine": "memory",
    "network": {"maxWriters": 1},
    "onMaxWriters": "wait",
}


def new(data: Any = None, options: dict[str, Any] = STANDBY) -> MemSync[Any]:
    return MemSync("standby", data, options)


def waits(mem: MemSync[Any]) -> bool:
    status = mem.get_status()
    return bool(status["status"] == "starting" and status["peers"])


def test_they_are_let_in_as_they_have_joined() -> None:
    handles = [new({"n": 0}) for _ in range(4)]
    handles[0].start()
    with ThreadPoolExecutor(4) as pool:
        starts = []
        for mem in handles[1:]:
            starts.append(pool.submit(mem.start, timeout=math.inf))
            until(partial(waits, mem))
        assert "process" in handles[1].get_status()["reason"]
        for mem, start in zip(handles, [*starts, None], strict=True):
            mem.patch({"$inc": {"n": 1}})
            mem.stop()
            if start is not None:
                assert start.result(5) == "host"
    assert handles[-1].snapshot() == {"n": 4}


def test_a_start_that_gives_up_may_be_repeated() -> None:
    with new({"n": 0}) as writer:
        mem = new()
        for _ in range(2):
            with pytest.raises(MaxWritersError, match=r"no place in 0\.01 s: .*since"):
                mem.start(timeout=0.01)
            assert mem.get_status()["status"] == "stopped"
            assert writer.peers == []
    assert mem.start() == "host"
    mem.stop()


def test_stop_in_another_thread_ends_the_wait() -> None:
    with new({"n": 0}), ThreadPoolExecutor(1) as pool:
        mem = new()
        start = pool.submit(mem.start)
        until(lambda: waits(mem))
        mem.stop()
        with pytest.raises(NotStartedError, match="was stopped while start"):
            start.result(5)


def test_callbacks_hear_only_what_happens_after_the_wait() -> None:
    heard: list[Any] = []
    with ThreadPoolExecutor(1) as pool:
        writer, mem = new({"n": 0}), new()
        writer.start()
        mem.on("connected", heard.append)
        mem.events.on("job", heard.append)
        start = pool.submit(mem.start)
        until(lambda: waits(mem))
        writer.events.emit("job", 1)
        writer.stop()
        start.result(5)
        mem.events.emit("job", 2)
        until(lambda: 2 in heard)
        mem.stop()
    assert heard == ["host", 2]


def test_never_two_writers_while_threads_come_and_go() -> None:
    inside, most = threading.Lock(), []

    def work(number: int) -> None:
        mem = new({"n": 0})
        for _ in range(10):
            mem.start()
            most.append(inside.acquire(blocking=False))
            inside.release()
            mem.stop()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert most == [True] * 60


def test_only_a_start_that_may_stand_by_has_no_deadline() -> None:
    with pytest.raises(UsageError, match="0 to 3600"):
        new(options={"engine": "memory"}).start(timeout=math.inf)
