"""Errors of the folder at moments at which nobody expects to use it."""

from __future__ import annotations

import errno
import os
import threading
from typing import Any

import pytest

from memsync import MemSync, RendezvousError
from memsync.manager.folder.folder import ObjectFolder
from memsync.manager.host.handover import Handover
from memsync.testing import NAME, Cluster

pytestmark = pytest.mark.process


@pytest.mark.parametrize("error", [RendezvousError("unreadable"), OSError(errno.EIO, "unreadable")])
def test_an_error_of_the_folder_is_no_outcome_of_a_write_that_was_sent(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The thread that waits for its answer reads the folder when the process may have slept."""
    host = cluster.peer({"n": 0})
    still_hosts = ObjectFolder.still_hosts
    writers: list[threading.Thread] = []

    def unreadable(self: ObjectFolder, *args: Any, **kwargs: Any) -> bool:
        if threading.current_thread() is threading.main_thread() and not writers:
            writers.append(threading.current_thread())
            raise error
        return still_hosts(self, *args, **kwargs)

    with MemSync[Any](NAME, options={"network": {"recovery": 0.1, "poll": 10}}) as mem:
        monkeypatch.setattr(ObjectFolder, "still_hosts", unreadable)
        count = 0
        while not writers:
            mem.patch({"$inc": {"n": 1}})
            count += 1
        mem.patch({"$inc": {"n": 1}})
        assert host.snapshot() == {"n": count + 1}


def test_a_host_whose_handover_fails_closes_what_it_has_and_an_election_follows(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Handover) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with MemSync[Any](NAME, {"n": 0}) as mem:
        client = cluster.peer()
        monkeypatch.setattr(Handover, "to_anybody", fail)
        mem.stop()
        client.patch({"$inc": {"n": 1}})
        assert cluster.host() is client
        assert mem.get_status()["reason"] == "stopped"
