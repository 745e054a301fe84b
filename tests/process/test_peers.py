"""Peers that share an object: two, ten, coming and going in an orderly way."""

from __future__ import annotations

from typing import Any

import pytest

from memsync import MemSync
from memsync.testing import Cluster, until

pytestmark = pytest.mark.process


def test_the_first_peer_hosts_and_the_second_reads_and_writes_what_the_first_has(
    cluster: Cluster,
) -> None:
    first = cluster.peer({"n": 1, "list": ["one"]}, start=False)
    assert first.start() == "host"
    second = cluster.peer({"n": 99, "other": True}, start=False)
    assert second.start() == "client"
    assert second.snapshot() == {"n": 1, "list": ["one"]}
    second.patch({"$inc": {"n": 1}})
    assert second.snapshot("n") == 2
    assert until(lambda: first.snapshot("n") == 2)
    first.patch({"$inc": {"n": 1}})
    assert until(lambda: second.snapshot("n") == 3)


def test_starting_twice_is_starting_once(cluster: Cluster) -> None:
    peer = cluster.peer()
    before = peer.status()
    assert peer.start() == "host"
    assert peer.status() == before


def test_g1_ten_peers_that_all_write_end_with_equal_replicas(cluster: Cluster) -> None:
    peers = cluster.start(10, {"n": 0})
    assert [p.status()["status"] for p in peers] == ["host"] + ["client"] * 9

    def write(mem: MemSync[Any], name: str) -> None:
        for i in range(30):
            mem.patch({"$inc": {"n": 1}, "$max": {"last": name}, "$set": {f"{name}_{i}": i}})

    tickets = [(peer, peer.begin(write, f"p{i}")) for i, peer in enumerate(peers)]
    for peer, ticket in tickets:
        peer.result(ticket, 60)
    assert cluster.settled()["n"] == 300


def test_g4_what_a_patch_wrote_is_read_by_the_same_peer_at_once(cluster: Cluster) -> None:
    peers = cluster.start(2, {"n": 0})

    def write_and_read(mem: MemSync[Any]) -> int | None:
        for i in range(200):
            version = mem.patch({"$set": {"n": i}})
            if mem.data["n"] != i or mem.snapshot("n") != i or mem.version < version:
                return i
        return None

    for peer in peers:
        assert peer.run(write_and_read) is None


def test_peers_know_each_other(cluster: Cluster) -> None:
    host, *clients = cluster.start(3)
    ids = {peer.run(lambda mem: mem.id): peer for peer in cluster.peers}
    assert len(ids) == 3
    until(lambda: all(len(peer.run(lambda mem: mem.peers)) == 2 for peer in cluster.peers))
    for peer in cluster.peers:
        others = peer.run(lambda mem: mem.peers)
        assert {other["id"] for other in others} == {i for i, p in ids.items() if p is not peer}
        for other in others:
            assert other["pid"] == ids[other["id"]].pid
            assert other["roles"] == ["writer"]
            assert other["host"] == (ids[other["id"]] is host)
        assert peer.run(lambda mem: mem.has_peers())
    for client in clients:
        client.kill()
    until(lambda: not host.run(lambda mem: mem.has_peers()))


def test_the_status_names_the_host_with_process_and_address(cluster: Cluster) -> None:
    host, client = cluster.start(2)
    for peer, role in ((host, "host"), (client, "client")):
        status = peer.status()
        assert status["status"] == role
        assert status["host"]["pid"] == host.pid
        assert status["host"]["id"] == host.run(lambda mem: mem.id)
        assert status["host"]["started"] is True
        assert status["host"]["connections"] == 1
        assert status["pending"] == 0
        assert status["peers"] == 1
    assert client.status()["host"]["address"] == host.status()["host"]["address"]


def test_a_ping_measures_the_round_trip_from_both_sides(cluster: Cluster) -> None:
    host, client = cluster.start(2)
    from_client = client.run(lambda mem: mem.ping())
    assert from_client["connection"] == "client"
    assert 0 < from_client["host"]["time"] < 5
    from_host = host.run(lambda mem: mem.ping())
    assert from_host["connection"] == "host"
    (answer,) = from_host["clients"]
    assert answer["id"] == client.run(lambda mem: mem.id)
    assert 0 < answer["time"] < 5


def test_take_over_after_a_clean_stop_keeps_the_object(cluster: Cluster) -> None:
    host, client = cluster.start(2, {"n": 0})
    client.patch({"$inc": {"n": 1}})
    host.patch({"$inc": {"n": 1}})
    epoch = client.status()["epoch"]
    host.stop()
    assert cluster.peers[1].run(lambda mem: mem.patch({"$inc": {"n": 1}})) > 0
    assert cluster.host() is client
    assert client.status()["epoch"] > epoch
    assert client.snapshot() == {"n": 3}


def test_a_stopped_peer_still_reads_its_last_state_and_refuses_to_write(cluster: Cluster) -> None:
    from memsync import NotStartedError

    peer = cluster.peer({"n": 4})
    peer.stop()
    peer.stop()
    assert peer.snapshot() == {"n": 4}
    assert peer.run(lambda mem: mem.data["n"]) == 4
    assert peer.status()["status"] == "stopped"
    with pytest.raises(NotStartedError, match=r"start\(\)") as caught:
        peer.patch({"$set": {"n": 5}})
    assert caught.value.outcome == "not_applied"


def test_stop_and_start_make_a_new_peer_of_the_same_group(cluster: Cluster) -> None:
    _, client = cluster.start(2, {"n": 1})
    before = client.run(lambda mem: mem.id)
    client.stop()
    assert client.start() == "client"
    assert client.run(lambda mem: mem.id) != before
    client.patch({"$inc": {"n": 1}})
    assert cluster.settled() == {"n": 2}


def test_all_peers_stop_and_a_later_start_founds_the_object_anew(cluster: Cluster) -> None:
    peers = cluster.start(3, {"n": 1})
    peers[1].patch({"$set": {"n": 7}})
    for peer in peers:
        peer.stop()
    assert peers[2].start() == "host"
    assert peers[2].snapshot() == {"n": 1}
    assert [peers[0].start(), peers[1].start()] == ["client", "client"]
    peers[0].patch({"$inc": {"n": 1}})
    assert cluster.settled() == {"n": 2}


def test_all_peers_stop_and_start_at_the_same_time(cluster: Cluster) -> None:
    def restart(mem: MemSync[Any]) -> None:
        mem.stop()
        mem.start()

    peers = cluster.start(4, {"n": 0})
    for round_ in range(5):
        for peer, ticket in [(peer, peer.begin(restart)) for peer in peers]:
            peer.result(ticket)
        cluster.host()
        peers[round_ % 4].patch({"$inc": {"n": 1}})
        cluster.settled()
    assert cluster.settled()["n"] >= 1


def test_objects_of_different_names_do_not_meet(cluster: Cluster) -> None:
    one = cluster.peer({"n": 1}, name="one")
    two = cluster.peer({"n": 2}, name="two")
    assert (one.status()["status"], two.status()["status"]) == ("host", "host")
    one.patch({"$inc": {"n": 10}})
    assert (one.snapshot("n"), two.snapshot("n")) == (11, 2)
