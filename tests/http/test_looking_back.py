"""Older versions, also of the journal; one may take long, and nobody else waits for it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.storage.past import epoch_and_object_at
from memsync.testing import Cluster

from .client import fetch, url_of

pytestmark = pytest.mark.process


def test_others_are_answered_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(*args: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return epoch_and_object_at(*args)

    monkeypatch.setattr("memsync.http.served.epoch_and_object_at", slow)
    with (
        MemSync("foo", {"n": 7}, {"server": {"port": 0}}, engine="memory") as mem,
        ThreadPoolExecutor() as pool,
    ):
        url = url_of(mem)
        version = mem.get_status()["version"]
        answers = [
            pool.submit(fetch, f"{url}/{part}?at={version}") for part in ("n", "x", "n", "x")
        ]
        assert begun.wait(20)
        try:
            assert fetch(url + "/n", timeout=5).json == 7
        finally:
            go_on.set()
        assert [answer.result().status for answer in answers] == [200, 404, 200, 404]


def test_a_version_that_only_the_journal_has(cluster: Cluster, tmp_path: Path) -> None:
    file = {"path": tmp_path / "state.json", "journal": True}
    options = {"file": file, "server": {"port": 0}}
    with MemSync[Any]("foo", {"n": 0}, options) as mem:
        version = mem.patch({"$set": {"n": 1}}, journal=True)
        mem.patch({"$set": {"n": 2}}, journal=True)
        before = fetch(f"{url_of(mem)}?at={version}")
        name = f"{mem.epoch}-{version}"
    with MemSync[Any]("foo", {}, options) as mem:  # its log begins with what it has loaded
        url = url_of(mem)
        after = fetch(f"{url}?at={version}")
        assert (after.status, after.json, after.tag) == (200, {"n": 1}, before.tag)
        assert after.headers["memsync-version"] == before.headers["memsync-version"] == name
        assert fetch(f"{url}/n?at={version}").json == 1
        assert fetch(f"{url}/x?at={version}").status == 404
        gone = fetch(f"{url}?at=0")
        assert (gone.status, gone.json["code"]) == (410, "ERR_NO_VERSION")
        assert gone.json["newest"] == mem.version
