"""Pushes that linger: who leaves or dies does not take acknowledged writes with it."""

from __future__ import annotations

import os
from typing import Any

import pytest

from memsync import MemSync
from memsync.manager.host.fanout import FanOut
from memsync.testing import Cluster, Peer, PeerDied, until

WRITES = 10

pytestmark = pytest.mark.process


def linger_for_ever(mem: MemSync[Any]) -> None:
    """Let the pushes of this host linger until something else sends them."""

    def linger(self: FanOut, now: float) -> None:
        self._lingers_until = now + 1e6

    FanOut._linger = linger  # type: ignore[method-assign]


@pytest.fixture
def peers(cluster: Cluster) -> list[Peer]:
    """A host whose pushes linger, and three clients."""
    peers = cluster.start(4, {"n": 0})
    peers[0].run(linger_for_ever)
    return peers


def write(mem: MemSync[Any]) -> None:
    for _ in range(WRITES):
        mem.patch({"$inc": {"n": 1}})


def submit(mem: MemSync[Any]) -> None:
    for _ in range(WRITES):
        mem.submit({"$inc": {"n": 1}})


def write_and_stop(mem: MemSync[Any]) -> None:
    write(mem)
    mem.stop()


def write_and_die(mem: MemSync[Any]) -> None:
    write(mem)
    os._exit(0)


def test_g3_a_peer_that_stops_leaves_its_acknowledged_writes_to_others(
    cluster: Cluster, peers: list[Peer]
) -> None:
    host, writer, *others = peers
    writer.run(write_and_stop)
    host.kill()
    assert cluster.settled(others)["n"] == WRITES


def test_g3_the_host_pushes_what_a_peer_has_written_that_dies(
    cluster: Cluster, peers: list[Peer]
) -> None:
    host, writer, *others = peers
    with pytest.raises(PeerDied):
        writer.run(write_and_die)
    until(lambda: all(peer.snapshot("n") == WRITES for peer in others))
    assert host.alive


def test_what_lingers_goes_when_it_is_quiet(peers: list[Peer]) -> None:
    _, writer, *others = peers
    writer.run(write)
    until(lambda: all(peer.snapshot("n") == WRITES for peer in others))


@pytest.mark.parametrize("leavers", [1, 3])
def test_a_host_goes_on_when_the_peer_that_left_no_longer_takes_what_lingers(
    cluster: Cluster, leavers: int
) -> None:
    steady = {"network": {"lease": 60}}  # nobody replaces the paused host
    host, writer, *others = cluster.start(2 + leavers, {"n": 0}, steady)
    host.run(linger_for_ever)
    host.pause()
    writer.run(submit)
    for other in others:  # says that it leaves, and closes before it is heard
        other.stop()
    host.resume()
    writer.run(write)
    assert host.status()["status"] == "host"
    until(lambda: host.status()["peers"] == 1)
    assert cluster.settled([host, writer])["n"] == 2 * WRITES
