"""Errors of the system in the folder: a full disk, a failing read."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.manager.folder.folder import ObjectFolder
from memsync.testing import NAME, Cluster, until

from .folder_helpers import is_whole

pytestmark = pytest.mark.process


def test_what_cannot_be_made_again_is_said_once_and_tried_at_each_poll(
    cluster: Cluster,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    host = cluster.peer({"n": 0})
    tries: list[float] = []
    link = os.link

    def full_disk(source: Path, target: Path) -> None:
        if Path(target).name.startswith("peer-"):
            tries.append(time.monotonic())
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        link(source, target)

    with MemSync[Any](NAME, options={"network": {"poll": 0.1}}) as mem:
        monkeypatch.setattr("memsync.manager.folder.held_file.os.link", full_disk)
        path = folder / f"{NAME}.d" / f"peer-{mem.id}.json"
        path.unlink()
        until(lambda: len(tries) >= 10)
        assert tries[9] - tries[0] > 5 * 0.1  # what it makes in vain does not wake it
        (line,) = [each.getMessage() for each in caplog.records if "peer-" in each.getMessage()]
        assert "cannot repair the rendezvous folder" in line
        monkeypatch.undo()
        monkeypatch.setenv("MEMSYNC_DIR", str(folder))
        until(lambda: is_whole(path))
        mem.patch({"$inc": {"n": 1}})
        assert host.snapshot() == {"n": 1}


def test_an_error_of_the_system_ends_a_role_and_not_the_peer(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    host = cluster.peer({"n": 0})
    last_heartbeat = ObjectFolder.last_heartbeat
    errors = [OSError(errno.EIO, os.strerror(errno.EIO))]

    def unlucky(self: ObjectFolder, epoch: int) -> int:
        if errors:
            raise errors.pop()
        return last_heartbeat(self, epoch)

    with MemSync[Any](NAME, options={"network": {"poll": 0.1}}) as mem:
        monkeypatch.setattr(ObjectFolder, "last_heartbeat", unlucky)
        until(lambda: "Input/output error" in (mem.get_status()["reason"] or ""))
        mem.patch({"$inc": {"n": 1}})
        assert mem.get_status()["status"] == "client"
        assert host.snapshot() == {"n": 1}
    (told,) = [each for each in caplog.records if "is given up" in each.getMessage()]
    assert told.exc_info
