"""Observers over changes of host, refusals, snapshots and forks."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from memsync import Change, MemSync
from memsync.testing import Cluster, until

from ..process_helpers import LASTING, read_line, write_line

pytestmark = pytest.mark.process


def observe(mem: MemSync[Any], path: str) -> None:
    """Observe in a peer; the calls are in the handle's ``calls``."""
    calls: list[Any] = []
    mem.observe(path, calls.append)
    vars(mem)["calls"] = calls


def calls_of(mem: MemSync[Any]) -> list[Any]:
    done = threading.Event()
    mem._dispatcher.call_surely(done.set)
    assert done.wait(20)
    return list(vars(mem)["calls"])


def test_observers_go_on_when_hosts_are_killed(cluster: Cluster) -> None:
    cluster.start(4, {"n": 0, "other": 0})
    for peer in cluster.active:
        peer.run(observe, "n")
    for number in range(12):
        writer = cluster.active[number % len(cluster.active)]
        writer.patch({"$inc": {"n": 1}})
        writer.patch({"$inc": {"other": 1}})
        if number % 4 == 3 and len(cluster.active) > 1:
            cluster.kill_host()
    for peer in cluster.active:
        until(lambda: calls_of_peer(peer)[-1] == 12)  # noqa: B023 - it is called at once
        calls = calls_of_peer(peer)
        assert calls == sorted(set(calls))


def calls_of_peer(peer: Any) -> list[Any]:
    calls: list[Any] = peer.run(calls_of)
    return calls or [None]


def test_a_peer_that_comes_back_with_a_snapshot_is_called_once(cluster: Cluster) -> None:
    options = {"network": {"maxLog": 5}}
    host, client = cluster.start(2, {"n": 0}, options)
    client.run(observe, "n")
    client.pause()
    for _ in range(50):
        host.patch({"$inc": {"n": 1}})
    client.resume()
    until(lambda: calls_of_peer(client)[-1] == 50)
    calls = calls_of_peer(client)
    assert calls == sorted(set(calls))


def follow(mem: MemSync[Any]) -> None:
    vars(mem)["changes"] = mem.changes("n", timeout=0)


def followed(mem: MemSync[Any]) -> list[Any]:
    changes = vars(mem)["changes"]
    return [(value, version, changes.missed) for value, version in changes]


def test_a_loop_counts_the_batches_of_a_snapshot(cluster: Cluster) -> None:
    host, client = cluster.start(2, {"n": 0}, {"network": {"maxLog": 5, "maxQueue": 1 << 16}})
    client.run(follow)
    begin = client.version
    client.pause()
    for number in range(1, 13):  # more than the queue and the buffers of the socket take
        host.patch({"$set": {"n": number, "text": str(number) * 200_000}}, w=1)
    client.resume()
    until(lambda: client.snapshot("n") == 12)
    found = client.run(followed)
    assert found[-1][:2] == (12, host.version)
    assert any(missed for *_, missed in found)
    assert sum(1 + missed for *_, missed in found) == found[-1][1] - begin


def test_a_write_that_is_taken_back_is_a_change_of_this_peer(cluster: Cluster) -> None:
    host, other = cluster.start(2, {"n": 0, "flag": 0}, LASTING)
    with MemSync[Any]("obj", options={"clientOnly": True}) as mem:
        changes: list[Change[Any]] = []
        refused: list[Exception] = []
        mem.on("rolled_back", refused.append)
        mem.observe("n", changes.append, changes=True)
        for _ in range(50):
            host.pause()
            ticket = other.begin(lambda mem: mem.submit({"$inc": {"flag": 1}}) and None)
            other.result(ticket)
            flag = mem.data["flag"]
            future = mem.submit({"$inc": {"n": 1}}, where={"flag": flag})
            until(lambda: bool(changes) and changes[-1].new == mem.data["n"])
            host.resume()
            future.exception(20)
            if refused:
                break
        until(lambda: len(changes) > 1 and changes[-1].new == mem.data["n"])
        shown, back = changes[-2:]
        assert (shown.new, shown.own) == (back.old, True)
        assert (back.new, back.own, back.peer) == (shown.old, True, mem.id)


FORK = """
import os, sys, warnings
from memsync import MemSync
warnings.simplefilter("ignore")  # Python's own warning about threads and fork
mem = MemSync("obj")
mem.start()
data, parent = mem.data, os.getpid()

def tell(value):
    who = "parent" if os.getpid() == parent else "child"
    os.write(1, f"{{who}} {{value}}\\n".encode())  # at once: two processes write

first = mem.observe("n", tell)
second = mem.observe(lambda data: data["n"] * 10, tell)
child = os.fork()
if not child:
    {in_child}
    print("joined", flush=True)
    sys.stdin.readline()
    mem.stop()
    os._exit(0)
os.waitpid(child, 0)
mem.stop()
"""


@pytest.mark.parametrize("use", ['mem.data["n"]', 'data["n"]', "mem.start()", "mem.has_peers()"])
def test_in_a_forked_child_observers_go_on_from_the_first_use(cluster: Cluster, use: str) -> None:
    host = cluster.peer({"n": 0})
    program = cluster.script(FORK.format(in_child=use))
    assert read_line(program) == "joined\n"
    host.patch({"$inc": {"n": 1}})
    lines = {read_line(program) for _ in range(4)}
    assert lines == {"child 1\n", "child 10\n", "parent 1\n", "parent 10\n"}
    write_line(program)
    assert program.communicate(timeout=30)[0] == ""


def test_a_forked_child_ends_its_own_observers_only(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0})
    use = 'first.cancel(); mem.data["n"]; second.cancel()'
    program = cluster.script(FORK.format(in_child=use))
    assert read_line(program) == "joined\n"
    host.patch({"$inc": {"n": 1}})
    assert {read_line(program), read_line(program)} == {"parent 1\n", "parent 10\n"}
    write_line(program)
    assert program.communicate(timeout=30)[0] == ""
