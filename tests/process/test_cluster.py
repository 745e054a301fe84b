"""The tools for tests, where a busy machine runs something late."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.testing import Cluster

from ..process_helpers import LASTING

pytestmark = pytest.mark.process


def resume_at_the_second_ping(mem: MemSync[Any], pid: int) -> None:
    """Resume a process when this peer asks its host for the second time."""
    ping, calls = mem.ping, []

    def counting(timeout: float | None = None) -> dict[str, Any]:
        calls.append(timeout)
        if len(calls) == 2:
            os.kill(pid, signal.SIGCONT)
        return ping(timeout)

    mem.__dict__["ping"] = counting


def test_settled_waits_for_writes_that_are_pending(cluster: Cluster) -> None:
    """Two copies of one version differed while one showed a write that had no version yet."""
    host, client, other = cluster.start(3, {"n": 0}, LASTING)
    other.run(resume_at_the_second_ping, host.pid)
    host.pause()
    client.run(lambda mem: mem.submit({"$inc": {"n": 1}}) and None)
    assert cluster.settled([client, other]) == {"n": 1}
    host.resume()


def test_a_thread_that_ends_meanwhile_does_not_disturb_a_pause(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = cluster.peer({"n": 0})
    glob = Path.glob

    def with_ended(folder: Path, pattern: str) -> list[Path]:
        return [folder / "0" / "stat", *glob(folder, pattern)]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "glob", with_ended)
        peer.pause()
    peer.resume()
    assert peer.snapshot() == {"n": 0}
