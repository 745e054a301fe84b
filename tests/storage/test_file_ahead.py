"""A file that is ahead of all who live: what was saved and confirmed is not lost with its host."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.storage.restore import restore
from memsync.testing import Cluster, Peer, until


def flush(mem: MemSync[Any]) -> None:
    mem.flush()


def numbered(number: int) -> dict[str, Any]:
    """An update of more bytes than the buffers of a socket take."""
    return {"$set": {"n": number, "pad": str(number) * 2_000_000}}


def write_behind_the_back_of(late: Peer, host: Peer) -> None:
    """Writes that a suspended peer does not get."""
    late.pause()
    for number in range(1, 7):
        host.patch(numbered(number), timeout=20)


@pytest.fixture
def options(path: Path) -> dict[str, Any]:
    return {"file": {"path": str(path), "debounce": 0}}


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_g11_a_peer_that_lags_behind_the_file_goes_on_from_there(
    cluster: Cluster, options: dict[str, Any], path: Path, end: str
) -> None:
    host, late = cluster.peer({"n": 0}, options), cluster.peer()
    write_behind_the_back_of(late, host)
    host.run(flush)
    if end == "killed":
        host.kill()
    else:
        host.stop()
    version = json.loads(path.read_text())["version"]
    late.resume()
    until(lambda: late.status()["status"] == "host")
    assert late.snapshot()["n"] == 6
    assert late.patch({"$inc": {"n": 1}}) > version
    late.run(flush)
    assert json.loads(path.read_text())["data"]["n"] == 7


def test_g11_a_newcomer_prefers_the_file_to_a_reader_that_lags(
    cluster: Cluster, options: dict[str, Any]
) -> None:
    host = cluster.peer({"n": 0}, options)
    late = cluster.peer(options={"clientOnly": True})
    write_behind_the_back_of(late, host)
    host.run(flush)
    host.kill()
    late.resume()
    newcomer = cluster.peer({"n": 0}, options)
    assert newcomer.snapshot()["n"] == 6
    newcomer.patch({"$inc": {"n": 1}})
    assert cluster.settled()["n"] == 7


def test_a_file_that_cannot_be_read_keeps_nobody_from_going_on(
    cluster: Cluster, options: dict[str, Any], path: Path
) -> None:
    host, other = cluster.peer({"n": 0}, options), cluster.peer()
    other.patch({"$set": {"n": 1}})
    host.kill()
    os.remove(path)
    path.mkdir()
    until(lambda: other.status()["status"] == "host")
    assert other.snapshot() == {"n": 1}


def test_an_older_file_is_not_gone_back_to(
    cluster: Cluster, options: dict[str, Any], path: Path
) -> None:
    options["file"]["debounce"] = 3600
    host, other = cluster.peer({"n": 0}, options), cluster.peer()
    host.run(flush)
    host.patch({"$set": {"n": 1}})
    other.patch({"$set": {"m": 1}})
    host.kill()
    until(lambda: other.status()["status"] == "host")
    assert other.snapshot() == {"n": 1, "m": 1}


def test_what_was_restored_wins_over_a_reader_that_was_left(
    cluster: Cluster, options: dict[str, Any], path: Path
) -> None:
    options["file"]["journal"] = True
    host = cluster.peer({"n": 0}, options)
    reader = cluster.peer(options={"clientOnly": True})
    for number in range(1, 4):
        host.patch({"$set": {"n": number}})
    host.stop()
    restored = restore(str(path), {"n": 1}, lambda: None, journal_is_whole=True)
    newcomer = cluster.peer({"n": 0}, options)
    assert newcomer.snapshot() == {"n": 1}
    assert newcomer.patch({"$inc": {"m": 1}}) > restored.pair[1]
    until(lambda: reader.snapshot() == {"n": 1, "m": 1})
