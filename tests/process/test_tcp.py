"""Hosts on loopback TCP, as where no folder has a path that is short enough for a socket."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from memsync import MemSync
from memsync.manager import timing
from memsync.manager.folder import folder as folders
from memsync.testing import Cluster, Peer, until

OPTIONS = {"network": {"lease": 3, "poll": 0.2, "window": 100_000}}
LINE = "x" * 10_000

pytestmark = pytest.mark.process


def use_tcp(mem: MemSync[Any]) -> None:
    folders.takes_socket = lambda path: False  # type: ignore[attr-defined]


def tcp_peer(cluster: Cluster) -> Peer:
    peer = cluster.peer({"log": []}, OPTIONS, start=False)
    peer.run(use_tcp)
    peer.start()
    assert not isinstance(peer.status()["host"]["address"], str)
    return peer


def be_patient(mem: MemSync[Any]) -> None:
    """Let a host wait for a client that takes nothing, however busy the machine is."""
    structs.force_setattr(timing.TIMING, "stall", 60.0)


def fill(mem: MemSync[Any]) -> int:
    """Write until the client has no room for more; returns the number of acknowledged writes."""
    for number in range(10_000):
        future = mem.submit({"$push": {"log": LINE}})
        try:
            future.result(timeout=2)
        except TimeoutError:
            return number
    raise AssertionError("the client takes all")


def test_g3_what_a_killed_host_has_acknowledged_is_drained(cluster: Cluster) -> None:
    host, client = tcp_peer(cluster), tcp_peer(cluster)
    host.run(be_patient)
    client.pause()
    acknowledged = host.run(fill)
    host.kill()
    client.resume()
    until(lambda: client.status()["status"] == "host")
    assert len(client.snapshot("log")) >= acknowledged > 0


def test_calls_go_over_tcp_as_well(cluster: Cluster) -> None:
    peers = [
        cluster.peer(None, OPTIONS, rpc={"add": lambda a, b: a + b}, start=False) for _ in "ab"
    ]
    for peer in peers:
        peer.run(use_tcp)
        peer.start()
    one, other = (peer.status()["id"] for peer in peers)
    for number in range(100):
        assert peers[0].run(lambda mem, n: mem.call("add", n, 1, peer=other), number) == number + 1
    assert peers[1].run(lambda mem: mem.call("add", "x" * 3_000_000, "y", peer=one))[-1] == "y"
    record = peers[0].run(lambda mem: mem._peer.calls.record.wanted())
    assert record.address[0] == "127.0.0.1"


def test_a_write_of_the_host_counts_without_a_client_that_takes_nothing(cluster: Cluster) -> None:
    host, client = tcp_peer(cluster), tcp_peer(cluster)
    client.pause()
    host.run(lambda mem: mem.patch({"$set": {"large": LINE * 1000}}, timeout=20))
    client.resume()
    client.patch({"$set": {"after": 1}})
    assert cluster.settled()["after"] == 1
