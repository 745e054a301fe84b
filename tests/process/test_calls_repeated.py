"""Calls that another peer runs, where the first one has died or stops."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync, PeerLostError, idempotent
from memsync.testing import Cluster, until

from ..process_helpers import calls_at

pytestmark = pytest.mark.process

# A client runs a published function itself when the others take long to answer its connections.
RUNS_NOTHING = {"rpc": {"pickles": False}}


def dying(first: Path) -> dict[str, Any]:
    """Methods of which the first call anywhere kills its process."""

    def die_once() -> int:
        time.sleep(0.1)
        try:
            first.touch(exist_ok=False)
        except FileExistsError:
            return os.getpid()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    return {"once": idempotent(die_once), "twice": lambda: die_once()}


def _note(called: list[int], number: int, _: object) -> None:
    called.append(number)


async def _awaited(future: Any) -> Any:
    return await asyncio.wrap_future(future)


WAYS: dict[str, Callable[[MemSync[Any]], Any]] = {
    "call": lambda mem: mem.call("once", timeout=10),
    "submit": lambda mem: mem.rpc.submit("once").result(10),
    "asyncio": lambda mem: asyncio.run(_awaited(mem.rpc.submit("once"))),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_idempotent_method_runs_on_another_peer(
    cluster: Cluster, tmp_path: Path, way: str
) -> None:
    client = cluster.peer()
    workers = [cluster.peer(rpc=dying(tmp_path / "first")) for _ in range(2)]
    found = client.run(WAYS[way])
    assert found in [worker.pid for worker in workers]
    until(lambda: client.run(lambda mem: [each["pid"] for each in mem.peers]) == [found])


@pytest.mark.parametrize("way", WAYS)
def test_a_published_idempotent_function_runs_on_another_peer(
    cluster: Cluster, tmp_path: Path, way: str
) -> None:
    client, workers = cluster.peer(options=RUNS_NOTHING), [cluster.peer() for _ in range(2)]
    once = dying(tmp_path / "first")["once"]
    workers[0].run(lambda mem: mem.rpc.publish("once", once))
    assert client.run(WAYS[way]) in [worker.pid for worker in workers]


def test_a_published_function_without_the_mark_runs_once(cluster: Cluster, tmp_path: Path) -> None:
    client, worker, _ = cluster.peer(options=RUNS_NOTHING), cluster.peer(), cluster.peer()
    methods = dying(tmp_path / "first")
    worker.run(lambda mem: mem.rpc.publish("twice", methods["twice"]))
    with pytest.raises(PeerLostError, match="may have run"):
        client.run(lambda mem: mem.call("twice"))


def test_others_do_not(cluster: Cluster, tmp_path: Path) -> None:
    client = cluster.peer()
    for _ in range(2):
        cluster.peer(rpc=dying(tmp_path / "first"))
    with pytest.raises(PeerLostError) as caught:
        client.run(lambda mem: mem.rpc.submit("twice").result(10))
    assert caught.value.outcome == "unknown"


def test_many_futures_at_once(cluster: Cluster, tmp_path: Path) -> None:
    """A named peer is not replaced, and callbacks come once."""
    client = cluster.peer()
    workers = [cluster.peer(rpc=dying(tmp_path / "first")) for _ in range(3)]
    first = workers[0].status()["id"]

    def submit(mem: MemSync[Any], first: str) -> list[Any]:
        futures = [mem.rpc.submit("once") for _ in range(60)]
        named = mem.rpc.submit("once", peer=first)
        called: list[int] = []
        for number, future in enumerate(futures):
            future.add_done_callback(partial(_note, called, number))
        found = {future.result(10) for future in futures}
        until(lambda: len(called) >= 60)
        return [len(found), len(called), type(named.exception(10))]

    others, called, kind = client.run(submit, first)
    assert others in (2, 3)
    assert called == 60
    assert kind in (PeerLostError, type(None))


def test_nobody_is_left(cluster: Cluster) -> None:
    client = cluster.peer()
    worker = cluster.peer(rpc={"nap": idempotent(lambda seconds: time.sleep(seconds))})

    def begin(mem: MemSync[Any]) -> None:
        vars(mem)["kept"] = [mem.rpc.submit("nap", 60), mem.rpc.submit("nap", 60, timeout=50)]

    client.run(begin)
    until(lambda: worker.run(calls_at) == 2)
    worker.kill()
    kinds = client.run(lambda mem: [type(each.exception(15)) for each in vars(mem)["kept"]])
    assert kinds == [PeerLostError] * 2


def test_it_may_have_to_go_on_twice(cluster: Cluster, tmp_path: Path) -> None:
    def die_twice() -> int:
        for name in ("first", "second"):
            try:
                (tmp_path / name).touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    client = cluster.peer()
    workers = [cluster.peer(rpc={"twice": idempotent(lambda: die_twice())}) for _ in range(3)]
    found = client.run(lambda mem: mem.rpc.submit("twice").result(10))
    assert found in [worker.pid for worker in workers]
