"""The key of the folder: replaced, damaged, deleted, or a link."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from memsync import AuthenticationFailedError, MemErrors, MemSync, RendezvousError
from memsync.manager import MemSyncManager
from memsync.manager.transport.dial import dial
from memsync.testing import NAME, Cluster, until

pytestmark = pytest.mark.process


def test_the_key_is_what_the_file_says_at_any_time(cluster: Cluster, folder: Path) -> None:
    """Somebody cleaned the folder, and a newcomer made another key before the host looked."""
    host, client = cluster.start(2, {"n": 0})
    key = (folder / "authkey").read_bytes()
    (folder / "authkey").write_bytes(bytes(reversed(key)))
    newcomer = cluster.peer(start=False)
    assert newcomer.start() == "client"
    newcomer.patch({"$inc": {"n": 1}})
    assert cluster.settled([host, client, newcomer]) == {"n": 1}
    assert (folder / "authkey").read_bytes() == bytes(reversed(key))
    host.kill()
    client.patch({"$inc": {"n": 1}})
    assert cluster.settled([client, newcomer]) == {"n": 2}


def test_a_living_group_mends_a_damaged_key(cluster: Cluster, folder: Path) -> None:
    host = cluster.peer({"n": 0})
    (folder / "authkey").write_bytes(b"short")
    until(lambda: len((folder / "authkey").read_bytes()) == 32)
    newcomer = cluster.peer(start=False)
    assert newcomer.start() == "client"
    assert (folder / "authkey").stat().st_mode & 0o777 == 0o600
    assert cluster.settled([host, newcomer]) == {"n": 0}


def test_a_host_of_another_key_is_told_of(folder: Path) -> None:
    """A rendezvous that leads to the host of another folder."""
    host = MemSync[Any](NAME)
    host.start()
    address, key = MemSyncManager.locate(NAME)
    try:
        with pytest.raises(AuthenticationFailedError, match="authkey") as caught:
            dial(address, bytes(reversed(key)), b"", timeout=5)
        assert (caught.value.code, caught.value.outcome) == (MemErrors.ERR_AUTH, "not_applied")
    finally:
        host.stop()


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 33])
def test_a_damaged_key_is_made_anew_by_who_starts(
    cluster: Cluster, folder: Path, key: bytes
) -> None:
    (folder / "authkey").touch(mode=0o600)
    (folder / "authkey").write_bytes(key)
    host, client = cluster.start(2, {"n": 0})
    assert len((folder / "authkey").read_bytes()) == 32
    client.patch({"$inc": {"n": 1}})
    assert cluster.settled([host, client]) == {"n": 1}


def test_a_key_that_is_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    (folder / "authkey").symlink_to(key)
    with pytest.raises(RendezvousError, match="authkey is a link"):
        MemSync(NAME).start()


@pytest.mark.parametrize("mode", [0o644, 0o660])
def test_a_key_that_others_may_read_is_refused(folder: Path, mode: int) -> None:
    with MemSync(NAME):
        pass
    (folder / "authkey").chmod(mode)
    with pytest.raises(RendezvousError, match=f"authkey may be read by others .mode {mode:o}.*600"):
        MemSync(NAME).start()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_key_of_somebody_else_is_refused(folder: Path) -> None:
    with MemSync(NAME):
        pass
    os.chown(folder / "authkey", 12345, -1)
    with pytest.raises(RendezvousError, match="authkey belongs to user 12345"):
        MemSync(NAME).start()
