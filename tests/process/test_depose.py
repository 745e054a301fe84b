"""Hosts that hang, stop, or lose their files: real processes, real signals, no second host."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync, WriteConcernError
from memsync.testing import NAME, Cluster, Peer, until

LEASE = 0.6  # seconds
OPTIONS = {"network": {"lease": LEASE, "poll": 0.2}}
# A host that only waits for a processor is not replaced.
STEADY = {"network": {"lease": 60, "poll": 0.2}}

pytestmark = [pytest.mark.process, pytest.mark.watched]


def keep_writing(mem: MemSync[Any], name: str) -> None:
    """Append numbers to an array of one's own until told to stop; note which were acknowledged."""
    state = mem.__dict__
    state["going"], state["acknowledged"], state["errors"], state["gap"] = True, [], [], 0.0
    number, last = 0, time.monotonic()
    while state["going"]:
        number += 1
        try:
            mem.patch({"$push": {f"log.{name}": number}}, timeout=20)
        except Exception as error:
            state["errors"].append(repr(error))
            continue
        now = time.monotonic()
        state["gap"] = max(state["gap"], now - last)
        last = now
        state["acknowledged"].append(number)


def stop_writing(peer: Peer, ticket: int) -> tuple[list[int], list[str], float]:
    """What was acknowledged, what was raised, and the longest time between two of them."""
    peer.run(lambda mem: mem.__dict__.__setitem__("going", False))
    peer.result(ticket)
    names = ("acknowledged", "errors", "gap")
    acknowledged, errors, gap = peer.run(lambda mem: [mem.__dict__[name] for name in names])
    return acknowledged, errors, gap


def wait_for_versions(peer: Peer, number: int) -> None:
    """Wait until the peer has seen that many versions more."""
    before = peer.version
    until(lambda: peer.version > before + number)


def hosts(peers: list[Peer]) -> list[Peer]:
    return [peer for peer in peers if peer.status()["status"] == "host"]


def group(cluster: Cluster, count: int, options: Any = OPTIONS) -> tuple[list[Peer], list[int]]:
    """Peers that write, the first of them is host."""
    peers = [cluster.peer({"log": {}}, options) for _ in range(count)]
    return peers, [peer.begin(keep_writing, f"w{i}") for i, peer in enumerate(peers)]


def check(cluster: Cluster, peers: list[Peer], written: dict[str, list[int]]) -> None:
    """All are equal, there is one host, and what was acknowledged is there once."""
    log = cluster.settled(peers)["log"]
    assert cluster.host() in peers
    for name, acknowledged in written.items():
        assert len(set(log[name])) == len(log[name])
        assert set(acknowledged) <= set(log[name])


def test_g6_a_frozen_host_is_replaced_and_does_not_count_when_it_wakes_up(cluster: Cluster) -> None:
    peers, tickets = group(cluster, 3)
    host, *clients = peers
    until(lambda: all(len(p.snapshot("log") or {}) == 3 for p in peers))
    host.pause()
    until(lambda: len(hosts(clients)) == 1, 10, "nobody replaces the frozen host")
    before = clients[0].status()["version"]
    until(lambda: clients[0].status()["version"] > before + 10)
    host.resume()
    until(lambda: host.status()["status"] == "client", 10, "it goes on as a host")
    written = {}
    for index, (peer, ticket) in enumerate(zip(peers, tickets, strict=True)):
        acknowledged, errors, _ = stop_writing(peer, ticket)
        assert errors == []
        written[f"w{index}"] = acknowledged
    check(cluster, peers, written)


def test_a_newcomer_does_not_replace_a_frozen_host_that_alone_holds_the_object(
    cluster: Cluster,
) -> None:
    host = cluster.peer({"n": 1}, OPTIONS)
    newcomer = cluster.peer({"n": 2}, {**OPTIONS, "timeout": 3}, start=False)
    host.pause()
    try:
        with pytest.raises(Exception, match=str(host.pid)) as caught:
            newcomer.start()
        assert type(caught.value).__name__ == "HostUnresponsiveError"
    finally:
        host.resume()
    assert newcomer.start() == "client"
    assert newcomer.snapshot() == {"n": 1}


def test_g15_planned_stops_of_the_host_make_no_write_fail(cluster: Cluster) -> None:
    peers, tickets = group(cluster, 4, STEADY)
    until(lambda: all(len(p.snapshot("log") or {}) == 4 for p in peers))
    written = []
    for _ in range(3):
        (host,) = hosts(peers)
        index = peers.index(host)
        acknowledged, errors, _ = stop_writing(host, tickets[index])
        assert errors == []
        written.append(acknowledged)
        host.stop()
        del peers[index], tickets[index]
        until(lambda: len(hosts(peers)) == 1, 10)
        wait_for_versions(peers[0], 10)
    assert len(peers) == 1
    acknowledged, errors, _ = stop_writing(peers[0], tickets[0])
    assert errors == []
    log = peers[0].snapshot("log")
    found = sorted(tuple(numbers) for numbers in log.values())
    assert found == sorted(tuple(n) for n in [*written, acknowledged])


WHAT = ["rendezvous.json", "epoch-1.lock", "peer-*.json", "1-*.sock", "authkey", "object", "all"]


@pytest.mark.parametrize("what", WHAT)
def test_g12_what_is_deleted_under_load_is_made_again_without_a_second_host(
    cluster: Cluster, folder: Path, what: str
) -> None:
    peers, tickets = group(cluster, 3, STEADY)
    until(lambda: all(len(p.snapshot("log") or {}) == 3 for p in peers))
    place = folder / f"{NAME}.d"
    aside = folder.with_name(f"{folder.name}-deleted")  # or it fails over what is made again
    if what == "all":
        shutil.rmtree(folder.rename(aside))
    elif what == "object":
        shutil.rmtree(place.rename(aside))
        os.unlink(folder / "authkey")
    else:
        for path in [*place.glob(what), *folder.glob(what)]:
            path.unlink()

    def is_whole() -> bool:
        names = {path.name for path in place.glob("*")}
        ids = [peer.status()["id"] for peer in peers]
        own = {f"peer-{each}.json" for each in ids} | {f"1-{ids[0]}.sock"}
        return own | {"rendezvous.json", "epoch-1.lock"} <= names and (folder / "authkey").exists()

    until(is_whole, message=lambda: f"there is only {sorted(map(str, folder.rglob('*')))}")
    peers.append(cluster.peer({"log": {"wrong": [1]}}, STEADY))
    assert peers[-1].status()["status"] == "client"
    written = {}
    for index, ticket in enumerate(tickets):
        acknowledged, errors, _ = stop_writing(peers[index], ticket)
        assert errors == []
        written[f"w{index}"] = acknowledged
    check(cluster, peers, written)
    assert hosts(peers) == [peers[0]]


@pytest.mark.watched(everywhere=True)
def test_g12_a_newcomer_in_the_moment_of_deletion_and_crash_begins_no_new_object(
    cluster: Cluster, folder: Path
) -> None:
    for index in range(2):
        host, client = cluster.start(2, {"n": index}, OPTIONS)
        shutil.rmtree((folder / f"{NAME}.d").rename(folder / "deleted"))
        host.kill()
        newcomer = cluster.peer({"n": "its own"}, OPTIONS)
        assert newcomer.snapshot() == {"n": index}
        assert cluster.settled([client, newcomer]) == {"n": index}
        client.kill()
        newcomer.kill()


def test_a_socket_that_did_not_fit_into_the_folder_is_made_again_with_its_own(
    cluster: Cluster, folder: Path
) -> None:
    place = folder / ("x" * 120)
    place.mkdir(mode=0o700)
    host = cluster.peer({"n": 1}, STEADY, folder=place)
    socket = Path(host.run(lambda mem: mem.get_status()["host"]["address"]))
    assert socket.parent.parent != place
    shutil.rmtree(socket.parent)
    until(socket.exists)
    newcomer = cluster.peer({"n": 2}, STEADY, folder=place)
    assert newcomer.snapshot() == {"n": 1}


def test_an_open_write_concern_reports_applied_when_the_host_stops(
    cluster: Cluster,
) -> None:
    host, *others = cluster.start(3, {"n": 0}, STEADY)
    others[1].pause()
    try:
        ticket = host.begin(lambda mem: mem.patch({"$inc": {"n": 1}}, w=3, timeout=30))
        until(lambda: others[0].snapshot("n") == 1)
        host.stop()
        with pytest.raises(WriteConcernError) as caught:
            host.result(ticket)
    finally:
        others[1].resume()
    assert caught.value.outcome == "applied"
    assert others[0].snapshot("n") == 1
