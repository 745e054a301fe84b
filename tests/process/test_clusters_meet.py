"""Two networks: an object that was founded a second time while its host was frozen, unknown to all.

Its files and their witnesses are gone then, so nothing tells the second founder of the first.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.manager.folder.held_file import Files
from memsync.testing import NAME, Cluster, Peer, until

from ..process_helpers import driver_of

OPTIONS = {"network": {"lease": 0.6, "poll": 0.2}}  # seconds
PATIENT = {"network": {"lease": 60, "poll": 0.2}}  # nobody is deposed for its silence

pytestmark = [pytest.mark.process, pytest.mark.watched]


def delete_all(folder: Path) -> None:
    """The object's folder goes, and the witnesses of its locks."""
    place = folder / f"{NAME}.d"
    for path in [*Files().existing_witnesses(place), place]:
        aside = path.with_name(f"{path.name}-deleted")  # or it fails over what is made again
        shutil.rmtree(path.rename(aside))


def network(folder: Path) -> str:
    """The id that the rendezvous file tells."""
    found: str = json.loads((folder / f"{NAME}.d" / "rendezvous.json").read_text())["network"]
    return found


def note_what_is_rolled_back(mem: MemSync[Any]) -> None:
    told = mem.__dict__["told"] = []
    mem.on("rolled_back", lambda error: told.append(str(error)))


def told(peer: Peer) -> list[str]:
    found: list[str] = peer.run(lambda mem: mem.__dict__["told"])
    return found


@pytest.mark.parametrize("clients", [0, 1])
def test_of_two_networks_the_later_one_gives_up(
    cluster: Cluster, folder: Path, clients: int
) -> None:
    first = cluster.start(1 + clients, {"log": []}, OPTIONS)
    for peer in first:
        peer.patch({"$push": {"log": "first"}})
    kept = network(folder)
    for peer in first:
        peer.pause()
    delete_all(folder)
    second = [cluster.peer({"log": ["its own"], "other": 1}, OPTIONS) for _ in range(2)]
    assert second[0].status()["status"] == "host"
    assert kept < network(folder)
    second[1].run(note_what_is_rolled_back)
    for _ in range(5):
        second[1].patch({"$push": {"log": "second"}})
    for peer in reversed(first):
        peer.resume()
    everybody = [*first, *second]
    until(lambda: all(peer.snapshot("log")[:1] == ["first"] for peer in everybody), 20)
    cluster.host()
    second[1].patch({"$push": {"log": "after"}})
    first[0].patch({"$push": {"log": "all"}})
    assert cluster.settled(everybody) == {"log": ["first"] * len(first) + ["after", "all"]}
    assert network(folder) == kept
    until(lambda: told(second[1]))
    assert "5 or more" in told(second[1])[0]


def test_what_was_not_acknowledged_is_proposed_in_the_network_that_counts(
    cluster: Cluster, folder: Path
) -> None:
    first = cluster.peer({"n": 0}, PATIENT)
    first.pause()
    delete_all(folder)
    host = cluster.peer({"n": 100}, PATIENT)
    writer = cluster.peer(None, {**PATIENT, "clientOnly": True})  # so nobody goes on with that one
    host.pause()
    ticket = writer.begin(lambda mem: mem.patch({"$inc": {"n": 1}}, timeout=20))
    until(lambda: writer.snapshot("n") == 101)
    first.resume()
    host.kill()
    writer.result(ticket)
    assert cluster.settled([first, writer]) == {"n": 1}


def test_clients_of_a_frozen_host_see_that_its_number_is_another_peers(
    cluster: Cluster, folder: Path
) -> None:
    """The heartbeat of the other host is not the one of their host."""
    host, client = cluster.start(2, {"n": 1}, OPTIONS)
    host.pause()
    client.pause()
    delete_all(folder)
    other = cluster.peer({"n": 2}, OPTIONS)
    client.resume()
    until(lambda: other.snapshot("n") == 1, 20)
    assert cluster.settled([client, other]) == {"n": 1}
    host.resume()
    until(lambda: host.status()["status"] == "client", 20)
    assert cluster.settled() == {"n": 1}


def test_the_options_of_the_network_that_counts_count_for_who_wanted_others(
    cluster: Cluster, folder: Path
) -> None:
    first = cluster.peer({"n": 0}, OPTIONS)
    first.patch({"$inc": {"n": 1}})
    first.pause()
    delete_all(folder)
    second = [cluster.peer({"n": 0}, {"conflict": "strict"}) for _ in range(2)]
    for peer in second:
        peer.run(note_what_is_rolled_back)
        peer.patch({"$inc": {"n": 10}})
    first.resume()
    until(lambda: first.status()["epoch"] > 1)
    until(lambda: len({peer.status()["epoch"] for peer in [first, *second]}) == 1)
    for peer in [first, *second]:
        peer.patch({"$inc": {"n": 100}})
    assert cluster.settled() == {"n": 301}
    assert all(peer.run(lambda mem: driver_of(mem).ctx.lease.seconds) == 0.6 for peer in second)
    until(lambda: all("lost" in "".join(told(peer)) for peer in second))
    cluster.host().kill()  # and they are let in again
    survivors = [peer for peer in [first, *second] if peer.alive]
    for peer in survivors:
        peer.patch({"$inc": {"n": 1000}})
    assert cluster.settled(survivors) == {"n": 2301}
