"""Somebody deletes files of a living group, or the whole folder while a peer starts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.manager.folder.folder import ObjectFolder
from memsync.manager.folder.held_file import Files, HeldFile
from memsync.testing import NAME, until

from .folder_helpers import PLANTED, rendezvous

pytestmark = pytest.mark.process


@pytest.fixture
def witness_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one place of witnesses of this process, with those of this user in it."""
    root = tmp_path / "roots"
    root.mkdir()
    monkeypatch.setattr("memsync.manager.folder.held_file.WITNESS_ROOTS", (str(root),))
    return root / f"memsync-{os.getuid()}"


@pytest.mark.parametrize("which", ["of the user", "of the object"])
@pytest.mark.parametrize("complaint", ["missing", *PLANTED])
def test_where_no_witness_can_be_kept_the_lock_alone_does(
    folder: Path, witness_root: Path, complaint: str, which: str
) -> None:
    planted = witness_root
    if which == "of the object":
        (planted,) = Files().witness_folder(folder / f"{NAME}.d")
        planted.rmdir()
    if complaint == "missing":
        shutil.rmtree(witness_root.parent)
    else:
        PLANTED[complaint](planted)
    place = ObjectFolder(folder, NAME)
    lock = place.publish_lock(1, "ab", 7, "/x")
    assert lock is not None
    assert not list(witness_root.parent.rglob("*.lock"))
    assert place.still_hosts(1, "ab")
    assert not place.still_hosts(1, "cd")
    lock.close()
    assert not place.still_hosts(1, "ab")


def test_deleted_witnesses_are_made_again_with_their_folders(
    folder: Path, witness_root: Path
) -> None:
    with MemSync[Any](NAME, {"n": 1}, {"network": {"poll": 0.1}}) as mem:
        (witness,) = witness_root.glob("*/epoch-1.lock")
        shutil.rmtree(witness_root)
        until(witness.exists)
        assert witness_root.stat().st_mode & 0o777 == 0o700
        rendezvous(folder).unlink()
        until(rendezvous(folder).exists)
        assert (mem.get_status()["status"], mem.epoch) == ("host", 1)


@pytest.mark.parametrize("call", range(1, 6))
def test_a_start_outlives_the_deletion_of_the_folder_under_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """The folder goes before the key, the peer file, the lock or its witness is published."""
    publish, calls = Files.publish, []

    def unlucky(self: Files, path: Path, data: bytes, place: Path) -> HeldFile | None:
        calls.append(path)
        if len(calls) == call:
            shutil.rmtree(folder)
        return publish(self, path, data, place)

    monkeypatch.setattr(Files, "publish", unlucky)
    with MemSync[Any](NAME, {"n": 1}, {"network": {"poll": 0.1}}) as mem:
        assert mem.patch({"$inc": {"n": 1}}) > 0
        until(lambda: (folder / f"{NAME}.d" / "rendezvous.json").exists())
        assert len(calls) >= min(call, 4)
