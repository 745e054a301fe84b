"""Folders that cannot be made, written, or trusted, as a user who is not root."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memsync import MemErrors, MemSync, RendezvousError
from memsync.testing import NAME, Cluster, Peer

from .folder_helpers import NOBODY, PLANTED

pytestmark = pytest.mark.process


def as_nobody(mem: MemSync[Any]) -> None:
    """Give up the rights of root, before which no folder is closed."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


@pytest.fixture
def nobody(cluster: Cluster, folder: Path) -> Callable[[Path], Peer]:
    """Makes peers of an unprivileged user with a given folder."""
    folder.chmod(0o755)

    def peer(place: Path) -> Peer:
        made = cluster.peer({"n": 1}, folder=place, start=False)
        made.run(as_nobody)
        return made

    return peer


def own(path: Path) -> None:
    """Give a folder to the unprivileged user."""
    if os.getuid() == 0:
        os.chown(path, NOBODY, NOBODY)


def refusal(peer: Peer, place: Path) -> str:
    """The message with which `start` fails; nothing is left behind."""
    before = sorted(place.parent.rglob("*"))
    with pytest.raises(RendezvousError, match=r"set MEMSYNC_DIR") as caught:
        peer.start()
    assert (caught.value.code, caught.value.outcome) == (MemErrors.ERR_RENDEZVOUS, "not_applied")
    assert str(place) in str(caught.value)
    assert sorted(place.parent.rglob("*")) == before
    assert peer.status()["status"] == "stopped"
    return str(caught.value)


def test_a_folder_that_cannot_be_made_is_named(
    nobody: Callable[[Path], Peer], folder: Path
) -> None:
    place = folder / "closed" / "inside"
    place.parent.mkdir()
    place.parent.chmod(0o555)
    assert "cannot be made" in refusal(nobody(place), place)


def test_a_folder_that_cannot_be_written_is_named_and_start_may_be_repeated(
    nobody: Callable[[Path], Peer], folder: Path
) -> None:
    place = folder / "mine"
    place.mkdir(mode=0o500)
    own(place)
    peer = nobody(place)
    assert "cannot be written" in refusal(peer, place)
    place.chmod(0o700)
    assert peer.start() == "host"
    peer.patch({"$inc": {"n": 1}})
    assert peer.snapshot() == {"n": 2}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make folders of other users")
@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_a_folder_of_another_user_is_refused(
    nobody: Callable[[Path], Peer], folder: Path, mode: int
) -> None:
    place = folder / "roots"
    place.mkdir()
    place.chmod(mode)
    message = refusal(nobody(place), place)
    assert "belongs to user 0" in message
    assert str(NOBODY) in message


def test_a_folder_that_is_open_to_others_is_refused(
    nobody: Callable[[Path], Peer], folder: Path
) -> None:
    place = folder / "open"
    place.mkdir()
    place.chmod(0o755)
    own(place)
    peer = nobody(place)
    message = refusal(peer, place)
    assert f"choose a folder of its own, for example {place / 'memsync-x'}" in message
    assert "chmod" not in message  # memsync has not made it
    (place / "authkey").touch(mode=0o600)
    own(place / "authkey")
    assert f"chmod 700 {place}" in refusal(peer, place)


def test_a_folder_that_is_a_link_or_a_file_is_refused(
    nobody: Callable[[Path], Peer], folder: Path
) -> None:
    (folder / "target").mkdir(mode=0o700)
    own(folder / "target")
    link = folder / "link"
    link.symlink_to(folder / "target")
    file = folder / "file"
    file.write_text("")
    for place in (link, file):
        assert "is a link or not a folder" in refusal(nobody(place), place)


def test_an_object_folder_that_cannot_be_written_is_named(
    nobody: Callable[[Path], Peer], folder: Path
) -> None:
    place = folder / "mine"
    place.mkdir(mode=0o700)
    (place / f"{NAME}.d").mkdir(mode=0o500)
    for path in (place, place / f"{NAME}.d"):
        own(path)
    peer = nobody(place)
    assert "cannot be written" in refusal(peer, place / f"{NAME}.d")


@pytest.mark.parametrize("complaint", PLANTED)
def test_an_object_folder_that_is_not_private_is_refused(folder: Path, complaint: str) -> None:
    place = folder / f"{NAME}.d"
    PLANTED[complaint](place)
    mem = MemSync[Any](NAME)
    with pytest.raises(RendezvousError, match=rf"{place} {complaint}.*set MEMSYNC_DIR"):
        mem.start()
    assert list(place.iterdir()) == []
    place.unlink() if place.is_symlink() else place.rmdir()
    assert mem.start() == "host"
    mem.stop()
