"""The files of configs/ run as they are: each alone, and those of one object together."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from memsync import MaxWritersError, MemSync, ReadOnlyError
from memsync.testing import Cluster, until

pytestmark = pytest.mark.process

CONFIGS = Path(__file__).parents[2] / "configs"
READ_ONLY = {"reader", "dedicated-host"}


def handle(name: str) -> MemSync[Any]:
    return MemSync.from_config(CONFIGS / f"{name}.yaml")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some state a relative path for their file."""
    monkeypatch.chdir(tmp_path)


ALONE = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
ALONE.remove("s3")  # see `tests/storage/test_object_store.py`


@pytest.mark.parametrize("name", ALONE)
def test_each_starts_alone(cluster: Cluster, name: str) -> None:
    with handle(name) as mem:
        assert mem.get_status()["status"] == "host"
        if name in READ_ONLY:
            with pytest.raises(ReadOnlyError):
                mem.patch({"$set": {"status": "written"}})
        else:
            mem.patch({"$set": {"status": "written"}})


def test_they_share_one_object(cluster: Cluster) -> None:
    with handle("reader") as reader, ThreadPoolExecutor(1) as pool:
        writer, standby = handle("single-writer"), handle("standby-writer")
        writer.start()
        with pytest.raises(MaxWritersError):
            handle("single-writer").start()
        start = pool.submit(standby.start, timeout=math.inf)
        until(lambda: len(reader.peers) == 2)
        with handle("dedicated-host") as host:
            until(lambda: host.get_status()["status"] == "host")
            writer.patch({"$set": {"status": "written"}})
            writer.stop()
            assert start.result(5) == "client"
            standby.patch({"$set": {"by": "the standby"}})
            reader.wait_for({"status": "written", "by": "the standby"}, timeout=5)
        standby.stop()


def test_the_environment_wins_over_a_file(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMSYNC_PEER_ROLES", "[]")
    monkeypatch.setenv("MEMSYNC_ON_MAX_WRITERS", "raise")
    with handle("standby-writer") as mem, pytest.raises(ReadOnlyError):
        mem.patch({"$set": {"status": "written"}})
