"""`MemSync.at` in several processes: over a host that is killed, and from the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.testing import Cluster, until

pytestmark = pytest.mark.process


def versions(mem: MemSync[Any], first: int) -> list[int]:
    """The counter at each version from the first one on."""
    return [mem.at(version, "n") for version in range(first, mem.version + 1)]


def test_all_peers_agree_on_the_past_over_a_kill_of_the_host() -> None:
    with Cluster() as cluster:
        peers = cluster.start(3, data={"n": 0})
        first = max(peer.version for peer in peers)
        for number in range(30):
            peers[number % 3].patch({"$inc": {"n": 1}, "$set": {f"k{number % 4}": number}})
        cluster.kill_host()
        survivors = cluster.living
        for peer in survivors:
            peer.patch({"$inc": {"n": 1}, "$unset": {"k1": ""}})
        until(lambda: len({peer.version for peer in survivors}) == 1)
        one, other = (peer.run(versions, first) for peer in survivors)
        assert one == other
        assert (one[0], one[-1]) == (0, 32)
        assert one == sorted(one)


def test_any_process_reads_the_journal_of_processes_that_are_gone(tmp_path: Path) -> None:
    options = {"file": {"path": str(tmp_path / "state.json"), "journal": True}}
    with Cluster() as cluster:
        peers = cluster.start(2, data={"n": 0}, options=options)
        first = peers[1].patch({"$inc": {"n": 1}}, journal=True)
        for _ in range(10):
            last = peers[1].patch({"$inc": {"n": 1}}, journal=True)
        for peer in peers:
            peer.kill()
        host, client = cluster.start(2, options=options)
        for peer in (host, client):
            assert peer.run(lambda mem: mem.at(first, "n")) == 1
            assert peer.run(lambda mem: mem.at(last)) == {"n": 11}
