"""Write concern: in how many members a write must be before it is acknowledged."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from memsync import MemErrors, MemSync, UsageError, WriteConcernError
from memsync.testing import Cluster, until

pytestmark = pytest.mark.process

WRITE = {"$inc": {"n": 1}}


@pytest.mark.parametrize("w", [1, 2, 3, "majority", "all"])
@pytest.mark.parametrize("writer", ["host", "client"])
def test_a_concern_that_can_be_met_is_met(cluster: Cluster, writer: str, w: int | str) -> None:
    peers = cluster.start(3, {"n": 0})
    peer = peers[0] if writer == "host" else peers[1]
    assert peer.patch(WRITE, w=w) == peer.version
    if w in (3, "all"):
        # Acknowledged means: all have it now, without any waiting.
        assert [each.snapshot("n") for each in peers] == [1, 1, 1]


def test_all_of_a_lonely_host_is_itself(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0})
    assert host.patch(WRITE, w="all") == host.patch(WRITE, w="majority") - 1


@pytest.mark.parametrize("writer", ["host", "client"])
def test_a_frozen_member_keeps_all_from_being_met_but_not_a_majority(
    cluster: Cluster, writer: str
) -> None:
    host, client, frozen = cluster.start(3, {"n": 0})
    peer = host if writer == "host" else client
    frozen.pause()
    assert peer.patch(WRITE, w="majority")
    with pytest.raises(WriteConcernError, match="in 3 members, it is in 2") as caught:
        peer.patch(WRITE, w="all", timeout=1.5)
    error = caught.value
    assert (error.code, error.outcome) == (MemErrors.ERR_WRITE_CONCERN, "applied")
    assert (error.wanted, error.reached) == (3, 2)
    assert error.version == peer.version
    assert peer.status()["pending"] == 0  # it keeps no place in the window
    frozen.resume()
    assert cluster.settled() == {"n": 2}


def test_more_members_than_there_are_fails_at_once_and_says_so(cluster: Cluster) -> None:
    host, client = cluster.start(2, {"n": 0})
    for peer in (host, client):
        with pytest.raises(WriteConcernError, match="w=5") as caught:
            peer.patch(WRITE, w=5, timeout=20)
        assert caught.value.wanted == 5
        assert caught.value.version == peer.version
    assert cluster.settled() == {"n": 2}


def test_a_submitted_write_is_given_up_at_its_deadline(cluster: Cluster) -> None:
    _, client, frozen = cluster.start(3, {"n": 0})
    frozen.pause()

    def write(mem: MemSync[Any]) -> list[str]:
        futures = [mem.submit(WRITE, w="all", timeout=0.3) for _ in range(5)]
        return [type(future.exception(10)).__name__ for future in futures]

    assert client.run(write) == ["WriteConcernError"] * 5
    assert client.status()["pending"] == 0


def test_a_concern_survives_the_death_of_the_host(cluster: Cluster) -> None:
    host, writer, frozen, other = cluster.start(4, {"n": 0})
    frozen.pause()
    ticket = writer.begin(lambda mem: mem.patch(WRITE, w="all", timeout=20))
    until(lambda: other.snapshot("n") == 1)
    host.kill()
    until(lambda: writer.status()["epoch"] > 1, 10)
    frozen.resume()
    # Four were wanted and the host is gone; the number does not change with it.
    with pytest.raises(WriteConcernError) as caught:
        writer.result(ticket, 30)
    assert caught.value.wanted == 4
    ticket = writer.begin(lambda mem: mem.patch(WRITE, w="all", timeout=20))
    assert writer.result(ticket, 30)
    assert cluster.settled() == {"n": 2}


def test_a_concern_that_a_new_host_can_meet_is_met_there(cluster: Cluster) -> None:
    host, writer, frozen, other = cluster.start(4, {"n": 0})
    frozen.pause()
    other.pause()
    ticket = writer.begin(lambda mem: mem.patch(WRITE, w=3, timeout=30))
    until(lambda: writer.status()["version"] > 5)
    host.kill()
    until(lambda: writer.status()["status"] == "host", 10)
    other.resume()
    frozen.resume()
    assert writer.result(ticket, 30)


@pytest.mark.parametrize("writer", ["host", "client"])
def test_a_member_that_dies_while_it_is_waited_for_ends_the_waiting(
    cluster: Cluster, writer: str
) -> None:
    host, client, frozen = cluster.start(3, {"n": 0})
    peer, other = (host, client) if writer == "host" else (client, host)
    frozen.pause()
    ticket = peer.begin(lambda mem: mem.patch(WRITE, w="all", timeout=60))
    until(lambda: other.snapshot("n") == 1)  # ordered by now, with the members that it waits for
    frozen.kill()
    with pytest.raises(WriteConcernError, match="living members"):
        peer.result(ticket, 10)


def test_who_is_dead_before_the_write_is_no_member(cluster: Cluster) -> None:
    host, client, victim = cluster.start(3, {"n": 0})
    victim.kill()
    until(lambda: host.status()["peers"] == client.status()["peers"] == 1)
    for peer in (host, client):
        assert peer.patch(WRITE, w="all", timeout=60)


def test_a_submitted_write_times_out_even_with_a_rare_folder_poll(
    cluster: Cluster,
) -> None:
    seldom = {"network": {"poll": 60}}
    host, client, frozen = cluster.start(3, {"n": 0}, seldom)
    frozen.pause()

    def write(mem: MemSync[Any]) -> str:
        return type(mem.submit(WRITE, w="all", timeout=0.5).exception(15)).__name__

    assert [peer.run(write) for peer in (host, client)] == ["WriteConcernError"] * 2


@pytest.mark.parametrize("journal", [None, 1, "yes", []])
def test_a_journal_that_is_neither_true_nor_false_is_refused(
    cluster: Cluster, journal: object
) -> None:
    host = cluster.peer({"n": 0})
    with pytest.raises(UsageError, match="journal must be"):
        host.patch(WRITE, journal=journal)


@pytest.mark.parametrize("w", [2**70, 65_536, 0, -1, True, 1.5, "some", None, []])
def test_what_is_no_concern_is_refused_by_name(cluster: Cluster, w: object) -> None:
    host = cluster.peer({"n": 0})
    with pytest.raises(UsageError, match="w must be") as caught:
        host.patch(WRITE, w=w)
    assert caught.value.outcome == "not_applied"
    assert host.snapshot() == {"n": 0}


def test_a_journal_is_not_waited_for_where_there_is_none(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0})
    with pytest.raises(UsageError, match=r"file\.journal"):
        host.patch(WRITE, journal=True)
    assert host.snapshot() == {"n": 0}


def test_what_changes_nothing_waits_for_its_concern_as_well(cluster: Cluster) -> None:
    host, client, frozen = cluster.start(3, {"n": 0})
    frozen.pause()
    client.patch(WRITE)
    for peer in (host, client):
        with pytest.raises(WriteConcernError):
            peer.patch({"$set": {"n": 1}}, w="all", timeout=1.5)
    frozen.resume()
    for peer in (host, client):
        assert peer.patch({"$set": {"n": 1}}, w="all") == peer.version


def test_a_reader_counts_as_a_member(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0})
    reader = cluster.peer(options={"peer": {"roles": []}})
    host.patch(WRITE, w=2)
    assert reader.snapshot("n") == 1


def test_many_concerned_writes_of_many_threads_are_all_met(cluster: Cluster) -> None:
    _, client, _ = cluster.start(3, {"n": 0})

    def write(mem: MemSync[Any]) -> Any:
        def work() -> None:
            for _ in range(50):
                mem.patch(WRITE, w="all")

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return mem.get_status()["pending"]

    assert client.run(write) == 0
    assert cluster.settled() == {"n": 200}
