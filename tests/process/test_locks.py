"""Locks of epochs with any content, held or free, and what `start` says to them."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest

from memsync import MemErrors, MemSync, MemSyncError, ProtocolError, RendezvousError
from memsync.manager.transport.messages import PROTOCOL
from memsync.testing import NAME, Cluster, until

pytestmark = pytest.mark.process


def lock_content(protocol: object) -> bytes:
    """A lock file as a peer of that protocol number might write it."""
    facts = {"protocol": protocol, "name": NAME, "epoch": 1, "id": "ab", "pid": 4711}
    return json.dumps({**facts, "address": "/nowhere"}).encode()


def test_a_living_host_of_another_protocol_is_named_with_both_numbers(folder: Path) -> None:
    lock = folder / f"{NAME}.d" / "epoch-1.lock"
    lock.parent.mkdir(mode=0o700)
    lock.write_bytes(lock_content(99))
    mem = MemSync[Any](NAME, {"n": 1})
    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(
            ProtocolError, match=rf"4711.*99.*protocol {PROTOCOL}\b.*one version"
        ) as caught:
            mem.start()
        assert (caught.value.code, caught.value.outcome) == (MemErrors.ERR_PROTOCOL, "not_applied")
        assert mem.get_status()["status"] == "stopped"
    assert mem.start() == "host"  # the other one has died
    mem.stop()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", lock_content(None), lock_content(99), b'{"address": [1]}']
    + [b'{"protocol": 1, "address": %b, "pid": "x"}' % a for a in (b"null", b"5", b"[]", b"{}")],
)
def test_a_dead_lock_with_any_content_is_passed_over(folder: Path, content: bytes) -> None:
    lock = folder / f"{NAME}.d" / "epoch-7.lock"
    lock.parent.mkdir(mode=0o700)
    lock.write_bytes(content)
    with MemSync[Any](NAME, {"n": 1}) as mem:
        assert mem.get_status()["status"] == "host"
        assert mem.epoch == 8


@pytest.mark.parametrize("content", [b"", b"{", b"null", b'{"protocol": 1}'])
def test_a_held_lock_with_damaged_content_is_a_clear_error(folder: Path, content: bytes) -> None:
    lock = folder / f"{NAME}.d" / "epoch-7.lock"
    lock.parent.mkdir(mode=0o700)
    lock.write_bytes(content)
    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(MemSyncError, match=str(lock)):
            MemSync(NAME, options={"timeout": 1}).start()


def test_links_in_the_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("{}")
    (folder / f"{NAME}.d").mkdir(mode=0o700)
    (folder / f"{NAME}.d" / "epoch-1.lock").symlink_to(target)
    with pytest.raises(RendezvousError, match="is a link"):
        MemSync(NAME, options={"timeout": 1}).start()


def test_a_lock_with_the_highest_number_is_named(cluster: Cluster, folder: Path) -> None:
    _, client = cluster.start(2, {"n": 0})
    planted = folder / f"{NAME}.d" / f"epoch-{'9' * 18}.lock"
    planted.touch()
    until(lambda: str(planted) in (client.status()["reason"] or ""))
    with pytest.raises(RendezvousError, match=f"{planted}.*remove that file"):
        MemSync(NAME).start()
    planted.unlink()
    client.patch({"$inc": {"n": 1}})
    assert cluster.settled() == {"n": 1}


@pytest.mark.parametrize("content", [b"\x00\xff", b"", b"[]", b'{"protocol": "x"}'])
def test_a_held_lock_that_was_written_to_is_mended(
    cluster: Cluster, folder: Path, content: bytes
) -> None:
    host = cluster.peer({"n": 1})
    (lock,) = (folder / f"{NAME}.d").glob("epoch-*.lock")
    before = json.loads(lock.read_bytes())
    lock.write_bytes(content)
    assert cluster.peer().snapshot() == {"n": 1}
    assert json.loads(lock.read_bytes()) == before
    assert host.status()["epoch"] == before["epoch"]
