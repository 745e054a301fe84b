"""How methods run and end in real processes: exceptions, abandoned streams, circles, stop."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from memsync import MemSync, PeerLostError
from memsync.testing import Cluster, until

from ..rpc.exceptions import CASES
from ..rpc.test_exceptions import NAMES, check_case
from .test_green_threads import LIBRARIES, MISSING, PATCH, finish

pytestmark = pytest.mark.process

GetMem = Callable[[], MemSync[Any]]

STREAMS = 1000


def fail(name: str) -> None:
    """Raise the exception of a case."""
    raise CASES[NAMES.index(name)].raise_()


def test_what_a_method_raises_arrives(cluster: Cluster) -> None:
    cluster.peer(rpc={"fail": fail})
    with MemSync[Any](cluster.name) as mem:
        for case in CASES:
            if case.name in ("known only to the callee", "a group with an unknown"):
                continue  # `tests/rpc` has a callee that knows more than this process
            try:
                mem.call("fail", case.name)
            except BaseException as error:
                check_case(case, error, "test_calls_execution.py")
            else:
                pytest.fail(f"nothing was raised: {case.name}")


def counting(mem: GetMem) -> dict[str, Any]:
    """Endless streams, and the moments at which they ended."""
    ended: list[float] = []

    def plain() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            ended.append(time.monotonic())

    async def later() -> AsyncIterator[int]:
        try:
            for number in range(10**9):
                yield number
        finally:
            ended.append(time.monotonic())

    return {
        "plain": plain,
        "later": later,
        "ended": lambda: list(ended),
        "threads": threading.active_count,
    }


@pytest.mark.parametrize("kind", ["plain", "later"])
def test_a_thousand_abandoned_streams_end_within_a_tenth_of_a_second(
    cluster: Cluster, kind: str
) -> None:
    cluster.peer(rpc=counting)
    with MemSync[Any](cluster.name) as mem:
        next(mem.call(kind))
        before = mem.call("threads")
        left = list[float]()
        for _ in range(STREAMS):
            stream = mem.call(kind)
            next(stream)
            left.append(time.monotonic())  # the clock of both processes
            del stream
        until(lambda: len(mem.call("ended")) == STREAMS + 1)
        ended = mem.call("ended")
        late = [after - before for before, after in zip(left, ended[1:], strict=True)]
        assert median(late) < 0.1  # the longest of them says how busy the machine is
        assert mem.call("threads") <= before + 8  # `rpc.threads`, however many streams


@pytest.mark.parametrize("threads", [1, 8])
def test_circles_of_depth_eight_with_one_thread_each(cluster: Cluster, threads: int) -> None:
    def step(mem: GetMem) -> dict[str, Any]:
        def forward(left: int, ring: list[str]) -> int:
            if left == 0:
                return 0
            following = ring[(ring.index(mem().id) + 1) % len(ring)]
            found: int = 1 + mem().call("forward", left - 1, ring, peer=following)
            return found

        return {"forward": forward}

    cluster.start(3, options={"rpc": {"threads": threads}}, rpc=step)
    with MemSync[Any](cluster.name) as mem:
        until(lambda: len([peer for peer in mem.peers if peer["methods"]]) == 3)
        ring = [peer["id"] for peer in mem.peers]
        futures = [
            mem.rpc.submit("forward", 8, ring, peer=peer) for peer in ring for _ in range(20)
        ]
        assert [future.result(20) for future in futures] == [8] * 60


def test_a_killed_callee_leaves_the_items_that_came(cluster: Cluster) -> None:
    worker = cluster.peer(rpc=counting)
    with MemSync[Any](cluster.name) as mem:
        stream = mem.call("plain")
        assert next(stream) == 0
        until(lambda: stream._buffer.received > 8)
        worker.kill()
        found = list[int]()
        with pytest.raises(PeerLostError, match="plain"):
            found.extend(stream)
        assert found[:8] == [1, 2, 3, 4, 5, 6, 7, 8]
        assert list(stream) == []


def test_a_peer_that_stops_cancels_what_it_runs(cluster: Cluster, tmp_path: Path) -> None:
    notes = tmp_path / "notes"

    def work(mem: GetMem) -> dict[str, Any]:
        def note(text: str) -> None:
            with open(notes, "a") as file:
                file.write(f"{text}\n")

        async def later() -> AsyncIterator[int]:
            try:
                for number in range(10**9):
                    yield number
            finally:
                note("later")

        def plain() -> Iterator[int]:
            try:
                yield from range(10**9)
            finally:
                note("plain")

        return {"later": later, "plain": plain, "pid": os.getpid}

    worker = cluster.peer(rpc=work)
    with MemSync[Any](cluster.name) as mem:
        streams = [mem.call("later"), mem.call("plain")]
        for stream in streams:
            next(stream)
        worker.stop()
        until(lambda: notes.exists() and sorted(notes.read_text().split()) == ["later", "plain"])
        for stream in streams:
            with pytest.raises(PeerLostError):
                list(stream)


GREEN = (
    PATCH
    + """
import asyncio
from memsync import MemSync, RpcTimeoutError

def slow():
    began = len(ticks)
    while len(ticks) < began + 4:  # greenlets run meanwhile
        time.sleep(0.01)  # on a real thread
    return "slow"

def endless():
    while True:
        time.sleep(0.01)
        mem.rpc.current().check()

async def later(value):
    await asyncio.sleep(0.01)
    return value

ticks = []

def tick():
    while True:
        ticks.append(1)
        sleep(0.01)

spawn(tick)
def count(most):
    yield from range(most)

methods = {"add": lambda a, b: a + b, "slow": slow, "later": later, "count": count}
methods["endless"] = endless
with MemSync("green", rpc=methods), MemSync("green") as mem:
    print(mem.call("add", 1, 2), mem.call("later", 7), sum(mem.call("count", 40)))
    print(mem.call("slow"))
    try:
        mem.call("endless", timeout=0.1)
    except RpcTimeoutError:
        print("timeout")
    next(mem.call("count", 10**9))
    found = []
    joinall([spawn(lambda: found.append(mem.rpc.submit("add", 1, 1).result())) for _ in range(9)])
    print(found)
"""
)


@pytest.mark.skipif(bool(MISSING), reason=f"not installable here: {MISSING}")
@pytest.mark.parametrize("library", LIBRARIES)
def test_calls_between_greenlets(cluster: Cluster, library: str) -> None:
    program = cluster.script(GREEN, library)
    assert finish(program) == ["3 7 780", "slow", "timeout", str([2] * 9)]


RELOADED = """
import importlib, sys, time
from memsync import MemSync

ended = []

def count(most):
    try:
        yield from range(most)
    finally:
        ended.append(mem.rpc.current().method)

async def later(value):
    return value

def fail():
    raise KeyError("x")

def use():
    assert mem.call("add", 1, 2, timeout=5) == 3
    assert mem.call("later", (1, 2), timeout=5) == (1, 2)
    assert list(mem.call("count", 40)) == [*range(40)]
    try:
        mem.call("fail")
    except KeyError as error:
        assert error.args == ("x",)
    assert mem.rpc.submit("add", 3, 4).result(5) == 7
    before = len(ended)
    next(mem.call("count", 10**9))
    while len(ended) == before:
        time.sleep(0.01)

methods = {"add": lambda a, b: a + b, "count": count, "later": later, "fail": fail}
with MemSync("reloaded", rpc=methods) as callee, MemSync("reloaded") as mem:
    use()
    names = [name for name in sys.modules if name.split(".")[0] == "memsync"]
    for name in names[:: int(sys.argv[1])]:
        importlib.reload(sys.modules[name])
    use()
    print("used")
"""


@pytest.mark.parametrize("step", ["1", "-1"])
def test_calls_after_a_reload_of_everything(cluster: Cluster, step: str) -> None:
    assert finish(cluster.script(RELOADED, step)) == ["used"]
