"""Files in the rendezvous folder: where they are, whether they are whole, what may be wrong."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from memsync import RendezvousError
from memsync.manager.folder.held_file import Files
from memsync.testing import NAME

NOBODY = 65534


def rendezvous(folder: Path) -> Path:
    """The rendezvous file of the tests' object."""
    return folder / f"{NAME}.d" / "rendezvous.json"


def plant_link(path: Path) -> None:
    (path.parent / "target").mkdir(mode=0o700)
    path.symlink_to(path.parent / "target")


def plant_open(path: Path) -> None:
    path.mkdir()
    path.chmod(0o750)


def plant_foreign(path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can make folders of other users")
    path.mkdir(mode=0o700)
    os.chown(path, NOBODY, NOBODY)


PLANTED = {
    "is a link": plant_link,
    "is open to other users": plant_open,
    "belongs to user": plant_foreign,
}


def can_be_connected(path: Path) -> bool:
    """Whether somebody listens there."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


def is_whole(path: Path) -> bool:
    """Whether it is a lock, a peer file or a key."""
    try:
        found = Files().inspect(path)
    except RendezvousError:
        return False
    content = found[1] if found is not None else b""
    return len(content) == 32 if path.name == "authkey" else content.startswith(b"{")
