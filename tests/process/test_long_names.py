"""Names of objects and folders: long ones, and ones that differ in case only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.testing import NAME, Cluster

from .folder_helpers import PLANTED

pytestmark = pytest.mark.process


def test_long_folders_and_long_names_work(cluster: Cluster, folder: Path) -> None:
    place = folder / ("f" * 100) / ("g" * 100)
    name = "N" * 300
    host = cluster.peer({"n": 1}, folder=place, name=name)
    client = cluster.peer(folder=place, name=name)
    other = cluster.peer({"n": 7}, folder=place, name=name[:-1] + "n")
    client.patch({"$inc": {"n": 1}})
    host.kill()
    client.patch({"$inc": {"n": 1}})
    assert client.snapshot() == {"n": 3}
    assert other.snapshot() == {"n": 7}
    address = client.status()["host"]["address"]
    assert not isinstance(address, str) or len(os.fsencode(address)) <= 100


@pytest.fixture
def long_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The temp folder has a name that is too long for a socket, and no other one is stated."""
    temp = tmp_path / ("t" * 200)
    temp.mkdir()
    monkeypatch.delenv("MEMSYNC_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(temp))
    return temp / f"memsync-{os.getuid()}"


def test_a_long_temp_folder_works_and_its_short_one_goes_with_the_host(long_place: Path) -> None:
    name = "N" * 300
    with MemSync[Any](name, {"n": 1}) as host, MemSync[Any](name) as client:
        assert client.patch({"$inc": {"n": 1}}) == host.version
        assert long_place.stat().st_mode & 0o777 == 0o700
        socket = Path(host.get_status()["host"]["address"])
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        assert len(os.fsencode(socket)) <= 100
    assert not socket.parent.exists()


@pytest.mark.parametrize("complaint", PLANTED)
def test_a_short_folder_that_is_not_private_is_not_used(long_place: Path, complaint: str) -> None:
    with MemSync[Any](NAME) as mem:
        short = Path(mem.get_status()["host"]["address"]).parent
    assert not short.exists()
    try:
        if complaint == "is a link":
            short.symlink_to(long_place)
        else:
            PLANTED[complaint](short)
        with MemSync[Any](NAME, {"n": 1}) as host, MemSync[Any](NAME) as client:
            assert not isinstance(host.get_status()["host"]["address"], str)
            client.patch({"$inc": {"n": 1}})
            assert host.snapshot() == {"n": 2}
            assert not list(short.glob("*.sock"))
    finally:
        short.unlink() if short.is_symlink() else short.rmdir()


def test_names_that_differ_in_case_only_are_different_objects(cluster: Cluster) -> None:
    peers = [cluster.peer({"name": name}, name=name) for name in ("abc", "ABC", "Abc")]
    assert [peer.status()["status"] for peer in peers] == ["host"] * 3
    assert [peer.snapshot("name") for peer in peers] == ["abc", "ABC", "Abc"]
