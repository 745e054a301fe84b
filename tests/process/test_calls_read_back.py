"""What a method has written shows at the caller when the call returns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memsync import MemSync
from memsync.testing import Cluster

pytestmark = pytest.mark.process

GetMem = Callable[[], MemSync[Any]]


def methods(mem: GetMem) -> dict[str, Any]:
    """Methods that write."""

    def write(number: int) -> int:
        mem().patch({"$set": {"n": number}})
        return number

    def fail(number: int) -> None:
        write(number)
        raise KeyError(number)

    def stream(number: int, count: int) -> Iterator[int]:
        for each in range(number, number + count):
            yield write(each)

    return {"write": write, "fail": fail, "stream": stream}


def by_call(mem: MemSync[Any], number: int) -> None:
    """The value of a call."""
    mem.call("write", number)


def by_future(mem: MemSync[Any], number: int) -> None:
    """A future, that somebody waits for."""
    mem.rpc.submit("write", number).result()


def by_asyncio(mem: MemSync[Any], number: int) -> None:
    """A future in an event loop, which must not block."""

    async def wait() -> None:
        await asyncio.wrap_future(mem.rpc.submit("write", number))

    asyncio.run(wait())


def by_exception(mem: MemSync[Any], number: int) -> None:
    """What a method raises."""
    with pytest.raises(KeyError):
        mem.call("fail", number)


def by_all(mem: MemSync[Any], number: int) -> None:
    """Calls of all peers."""
    mem.call_all("write", number)


def by_item(mem: MemSync[Any], number: int) -> None:
    """An item of a stream, the first one."""
    with mem.call("stream", number, 1) as stream:
        next(stream)


def by_end(mem: MemSync[Any], number: int) -> None:
    """The end of a stream."""
    assert list(mem.call("stream", number, 1)) == [number]


def by_executor(mem: MemSync[Any], number: int) -> None:
    """A task of an executor."""
    with mem.executor() as executor:
        executor.submit(Writer(mem), number).result()


class Writer:
    """A task with a handle of its own."""

    def __init__(self, mem: MemSync[Any]) -> None:
        self._mem = mem

    def __call__(self, number: int) -> None:
        self._mem.patch({"$set": {"n": number}})


def wrong_reads(
    mem: MemSync[Any], way: Callable[[MemSync[Any], int], None], times: int
) -> list[Any]:
    """What `mem.data` shows instead of what was written."""
    wrong = []
    for number in range(1, times + 1):
        way(mem, number)
        found = mem.data["n"]
        if found != number:
            wrong.append((number, found))
    return wrong


WAYS = [by_call, by_future, by_asyncio, by_exception, by_all, by_item, by_end, by_executor]


def test_each_way_to_call(cluster: Cluster) -> None:
    cluster.start(2, {"n": 0})
    client, _ = cluster.peer(), cluster.peer(rpc=methods)
    for way in WAYS:
        assert client.run(wrong_reads, way, 50) == [], way


@pytest.mark.parametrize("times", [300, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("caller", ["host", "client", "memory"])
def test_ten_thousand_times(cluster: Cluster, caller: str, times: int) -> None:
    if caller == "memory":
        with (
            MemSync("obj", {"n": 0}, engine="memory", rpc=methods(lambda: worker)) as worker,
            MemSync("obj", engine="memory") as mem,
        ):
            assert wrong_reads(mem, by_call, times) == []
        return
    first = cluster.peer({"n": 0}, rpc=None if caller == "host" else methods)
    second = cluster.peer(rpc=methods if caller == "host" else None)
    peer = first if caller == "host" else second
    ticket = peer.begin(wrong_reads, by_call, times)
    assert peer.result(ticket, timeout=100) == []


@pytest.mark.parametrize("engine", ["local", "memory"])
def test_with_one_thread_peers_that_call_each_other_see_their_writes(
    cluster: Cluster, engine: str
) -> None:
    """The method waits for a write of a method that it calls, which is at its own peer."""

    def there(number: int) -> int:
        one.call("write", number, peer=one.id)
        return int(other.data["n"])

    def here(number: int) -> tuple[int, int]:
        found = one.call("there", number, peer=other.id)
        return found, one.data["n"]

    def write(number: int) -> None:
        other.patch({"$set": {"n": number}})

    options: Any = {"rpc": {"threads": 1}, "engine": engine}
    one: MemSync[Any] = MemSync(cluster.name, {"n": 0}, options, rpc={"here": here, "write": write})
    other: MemSync[Any] = MemSync(cluster.name, {}, options, rpc={"there": there})
    with one, other:
        for number in range(1, 30):
            assert one.call("here", number, timeout=5) == (number, number)
