"""An older version may take long: nobody else waits for it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from memsync import MemSync
from memsync.runtime.looking_back import object_at

from .client import fetch, url_of

pytestmark = pytest.mark.process


def test_others_are_answered_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(*args: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return object_at(*args)

    monkeypatch.setattr("memsync.http.served.object_at", slow)
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
