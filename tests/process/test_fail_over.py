"""The host is killed, again and again, while others write and join."""

from __future__ import annotations

import signal
import threading
from itertools import count, takewhile
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from memsync import MemSync
from memsync.manager.folder.folder import ObjectFolder
from memsync.testing import NAME, Cluster, Peer, until

from ..process_helpers import log_to

pytestmark = [pytest.mark.process, pytest.mark.watched]


@pytest.mark.watched(everywhere=True)
def test_a_killed_host_is_replaced_and_nothing_acknowledged_is_lost(cluster: Cluster) -> None:
    host, one, two = cluster.start(3, {"n": 0})
    for i, peer in enumerate(cluster.peers):
        peer.patch({"$inc": {"n": 10**i}})
    epoch = one.status()["epoch"]
    host.kill()
    one.patch({"$inc": {"n": 1000}})
    two.patch({"$inc": {"n": 1000}})
    assert cluster.settled() == {"n": 2111}
    assert cluster.host() in (one, two)
    assert one.status()["epoch"] > epoch
    until(lambda: one.status()["peers"] == 1, 5)


def append_for_ever(mem: MemSync[Any], name: str, path: str | Path) -> None:
    """Append numbers to an own list; each is noted before and after, in a file that outlives us."""
    note = log_to(path)
    mem.writing = True
    for number in takewhile(lambda _: mem.__dict__["writing"], count()):
        note(f"begun {number}")
        mem.patch({"$push": {name: number}, "$inc": {"total": 1}})
        note(f"acknowledged {number}")


def noted(path: Path, what: str) -> list[int]:
    """The numbers with such a note."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [int(line.split()[1]) for line in lines if line.startswith(what)]


def acknowledged(path: Path) -> int:
    """How many writes have been acknowledged; a look must not take the processor from them."""
    return path.read_bytes().count(b"acknowledged") if path.exists() else 0


def wait_for_notes(path: Path, number: int) -> None:
    """Wait until so many writes have been acknowledged."""
    until(lambda: acknowledged(path) >= number, message=f"{path.name} is stuck")


def check_exactly_once(document: dict[str, Any], name: str, path: Path) -> None:
    """Acknowledged writes are there once and in order; one that was begun may be."""
    found = document.get(name, [])
    begun, acknowledged = noted(path, "begun"), noted(path, "acknowledged")
    assert found == begun[: len(found)], f"{name}: not each once, in order: {found[-20:]}"
    assert len(found) >= len(acknowledged), f"{name}: lost {acknowledged[len(found) :]}"


def test_g2_g3_the_host_is_killed_20_times_in_a_row_under_writing(
    cluster: Cluster, tmp_path: Path
) -> None:
    names = count()
    writers: dict[str, Peer] = {}
    tickets: dict[Peer, int] = {}

    def begin(peer: Peer) -> None:
        name = f"w{next(names)}"
        writers[name] = peer
        tickets[peer] = peer.begin(append_for_ever, name, tmp_path / name)

    cluster.peer({"total": 0})
    for _ in range(3):
        begin(cluster.peer())
    for _ in range(20):
        begin(cluster.peer())
        marks = {name: acknowledged(tmp_path / name) for name in writers}
        cluster.host().kill()
        for name in [name for name, peer in writers.items() if peer.alive]:
            wait_for_notes(tmp_path / name, marks[name] + 3)
    for peer in cluster.living:
        peer.run(lambda mem: setattr(mem, "writing", False))
    for peer in cluster.living:
        peer.result(tickets[peer])
    document = cluster.settled()
    for name in writers:
        check_exactly_once(document, name, tmp_path / name)
    assert document["total"] == sum(len(document.get(name, [])) for name in writers)
    assert cluster.host().status()["epoch"] >= 21


def increment(mem: MemSync[Any], own: str, times: int) -> None:
    """So many acknowledged increments of the common and of the own counter."""
    for _ in range(times):
        mem.patch({"$inc": {"n": 1, own: 1}})


def wait_for_share(peer: Peer, share: int) -> None:
    """Wait until the common counter has come so far, as long as it goes on at all."""
    reached = 0

    def goes_on() -> bool:
        return bool(peer.snapshot("n") > reached)

    while reached < share:
        until(goes_on, 60)
        reached = peer.snapshot("n")


def test_g2_8000_increments_survive_kills_of_hosts_that_do_not_write(
    cluster: Cluster,
) -> None:
    clients = {"clientOnly": True}
    cluster.peer({"n": 0})
    writers = {f"w{i}": cluster.peer(options=clients) for i in range(4)}
    spares = [cluster.peer() for _ in range(2)]
    tickets = {name: peer.begin(increment, name, 2000) for name, peer in writers.items()}
    for share in (1500, 3000, 4500, 6000):
        wait_for_share(spares[0], share)
        cluster.host().kill()
        spares = [peer for peer in spares if peer.alive]
        spares.append(cluster.peer())
    for name, peer in writers.items():
        peer.result(tickets[name], 60)
    document = cluster.settled()
    assert document == {"n": 8000, **dict.fromkeys(writers, 2000)}
    assert writers["w0"].status()["epoch"] >= 5


def test_g2_8000_increments_survive_kills_of_hosts_that_write(
    cluster: Cluster,
) -> None:
    """A writer that is killed may leave one write of which nobody knows; its heir looks first."""

    def count_up(mem: MemSync[Any], own: str, until_own: int) -> None:
        while (mem.snapshot(own) or 0) < until_own:
            mem.patch({"$inc": {"n": 1, own: 1}})

    writers = {name: cluster.peer({"n": 0}) for name in ("w0", "w1", "w2", "w3")}
    tickets = {name: peer.begin(count_up, name, 2000) for name, peer in writers.items()}
    for share in (1500, 3000, 4500, 6000):
        wait_for_share(cluster.clients()[0], share)
        victim = cluster.host()
        victim.kill()
        (name,) = [name for name, peer in writers.items() if peer is victim]
        # The one who replaces it reads how far it came and goes on from there.
        writers[name] = cluster.peer({"n": -(10**6)})
        tickets[name] = writers[name].begin(count_up, name, 2000)
    for name, peer in writers.items():
        peer.result(tickets[name], 60)
    assert cluster.settled() == {"n": 8000, **dict.fromkeys(writers, 2000)}


def test_g3_an_acknowledged_write_of_the_host_survives_its_kill(
    cluster: Cluster, tmp_path: Path
) -> None:
    for round_ in range(10):
        cluster.start(2 if not cluster.living else 1, {"n": 0})
        host, path = cluster.host(), tmp_path / f"round{round_}"
        host.begin(append_for_ever, f"h{round_}", path)
        wait_for_notes(path, 5)
        host.kill()
        (survivor,) = cluster.living
        survivor.patch({"$set": {"seen": round_}})
        check_exactly_once(survivor.snapshot(), f"h{round_}", path)


def test_a_newcomer_in_the_moment_of_the_kill_never_serves_its_own_default(
    cluster: Cluster,
) -> None:
    original = {"marker": "original", "n": 0}
    cluster.start(2, original)
    for round_ in range(25):
        newcomer = cluster.peer({"marker": f"newcomer {round_}"}, start=False)
        host = cluster.host()
        ticket = newcomer.begin(MemSync.start)
        if round_ % 2:  # sometimes while it joins, sometimes when it has found the host
            newcomer.run(lambda mem: None)
        host.kill()
        newcomer.result(ticket)
        assert newcomer.snapshot("marker") == "original"
        newcomer.patch({"$inc": {"n": 1}})
    assert cluster.settled() == {"marker": "original", "n": 25}


@pytest.mark.watched(everywhere=True)
def test_several_newcomers_in_the_moment_of_the_kill_join_one_group(cluster: Cluster) -> None:
    cluster.start(2, {"marker": "original"})
    for round_ in range(5):
        host = cluster.host()
        newcomers = [cluster.peer({"marker": f"{round_}"}, start=False) for _ in range(3)]
        tickets = [(peer, peer.begin(MemSync.start)) for peer in newcomers]
        host.kill()
        for peer, ticket in tickets:
            peer.result(ticket)
        cluster.host()
        assert cluster.settled() == {"marker": "original"}
        for extra in cluster.clients()[1:]:
            extra.kill()


@pytest.mark.watched(everywhere=True)
def test_an_epoch_that_is_taken_while_a_peer_looks_around_is_not_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look = ObjectFolder.living_peers
    faster, slower = MemSync[Any](NAME), MemSync[Any](NAME)
    looks = count()

    def look_late(place: ObjectFolder) -> dict[str, dict[str, Any]]:
        if next(looks) == 0:
            starter = threading.Thread(target=faster.start)  # this is the driver of the slower one
            starter.start()
            starter.join()
        return look(place)

    monkeypatch.setattr(ObjectFolder, "living_peers", look_late)
    with slower, faster:
        assert (faster.get_status()["status"], slower.get_status()["status"]) == ("host", "client")
        assert slower.get_status()["epoch"] == 1


def test_client_only_peers_never_host_and_bring_the_object_to_the_next_host(
    cluster: Cluster,
) -> None:
    host = cluster.peer({"marker": "original"})
    client = cluster.peer(options={"clientOnly": True})
    client.patch({"$set": {"n": 1}})
    host.kill()
    until(lambda: client.status()["status"] == "starting", 5)
    ticket = client.begin(lambda mem: mem.patch({"$inc": {"n": 1}}))
    newcomer = cluster.peer({"marker": "of the newcomer"})
    assert newcomer.status()["status"] == "host"
    assert client.result(ticket) > 0
    assert cluster.settled() == {"marker": "original", "n": 2}
    assert client.status()["status"] == "client"


def test_g12_stale_files_after_sigkill_are_in_nobodys_way(cluster: Cluster, folder: Path) -> None:
    for round_ in range(10):
        peer = cluster.peer({"round": round_})
        assert peer.status()["status"] == "host"
        assert peer.snapshot() == {"round": round_}
        peer.kill()
    cluster.peer()
    place = folder / f"{NAME}.d"
    until(lambda: len(list(place.glob("peer-*"))) == 1)  # those of the dead stay for a second
    kinds = sorted(path.name.split("-")[0] for path in place.iterdir())
    assert len(kinds) == 4, kinds  # one lock, one peer file, one socket, the rendezvous


def test_g12_a_start_after_sigkill_takes_less_than_a_second(cluster: Cluster) -> None:
    def timed_start(mem: MemSync[Any]) -> float:
        import time

        begin = time.monotonic()
        mem.start()
        return time.monotonic() - begin

    durations = []
    for _ in range(5):
        peer = cluster.peer(start=False)
        durations.append(peer.run(timed_start))
        peer.signal(signal.SIGKILL)
        peer.join()
    assert median(durations) < 1, durations  # the longest says how busy the machine is


def test_the_host_dies_while_a_large_snapshot_is_on_its_way(cluster: Cluster, folder: Path) -> None:
    host = cluster.peer({"marker": "original"})
    keeper = cluster.peer()
    text = "x" * 1_000_000
    for i in range(6):
        keeper.patch({"$set": {f"big{i}": text}})
    newcomer = cluster.peer({"marker": "of the newcomer"}, start=False)
    known = set(folder.glob("*/peer-*.json"))
    ticket = newcomer.begin(MemSync.start)
    until(lambda: set(folder.glob("*/peer-*.json")) - known)
    # Frozen before it can have read all, it leaves most of the snapshot with the host.
    newcomer.pause()
    host.kill()
    newcomer.resume()
    newcomer.result(ticket)
    assert newcomer.snapshot("marker") == "original"
    assert all(newcomer.snapshot(f"big{i}") == text for i in range(6))
    keeper.patch({"$set": {"after": 1}})
    until(lambda: newcomer.snapshot("after") == 1)


def test_callers_are_told_of_the_change_of_host(cluster: Cluster) -> None:
    host, client, _ = cluster.start(3)

    def listen(mem: MemSync[Any]) -> None:
        heard = mem.__dict__["heard"] = []
        mem.on("connected", lambda role: heard.append(["connected", role]))
        mem.on("disconnected", lambda reason: heard.append(["disconnected", reason]))
        mem.on("host_changed", lambda change: heard.append(["host_changed", change]))

    client.run(listen)
    old = host.run(lambda mem: mem.id)
    host.kill()
    new = cluster.host().run(lambda mem: mem.id)
    until(lambda: len(client.run(lambda mem: mem.heard)) >= 3, 5, "too few events")
    heard = client.run(lambda mem: mem.heard)
    kinds = [kind for kind, _ in heard]
    assert sorted(kinds) == ["connected", "disconnected", "host_changed"]
    assert kinds.index("disconnected") == 0
    (change,) = [what for kind, what in heard if kind == "host_changed"]
    assert change == {"old": old, "new": new, "epoch": client.status()["epoch"]}


def test_g3_a_writer_frozen_for_longer_than_a_recovery_brings_its_own_writes_back(
    cluster: Cluster,
) -> None:
    """Only the frozen writer survives of the two that held its last writes."""
    quick = {"network": {"recovery": 0.3}}
    host, writer, other = cluster.start(3, {"n": 0, "list": []}, quick)
    other.pause()

    def write(mem: MemSync[Any]) -> list[int]:
        # More than the kernel keeps for the other one: the rest dies with the host.
        for i in range(40):
            mem.patch({"$set": {"big": f"{i}" * 50_000}})
        return [mem.patch({"$push": {"list": i}}) for i in range(5)]

    writer.run(write)
    writer.pause()
    try:
        host.kill()
        other.resume()
        other.run(lambda mem: mem.patch({"$inc": {"n": 1}}, timeout=5))
    finally:
        writer.resume()
    writer.patch({"$inc": {"n": 1}})
    document = cluster.settled()
    assert document["n"] == 2
    assert document["list"] == [0, 1, 2, 3, 4]
