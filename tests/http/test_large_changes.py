"""A change that takes long to compile: nobody else waits for it."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from memsync import MemSync
from memsync.http import updates

from .client import fetch, url_of
from .test_writing import MERGE, OPTIONS, read, send

pytestmark = pytest.mark.process


@pytest.mark.parametrize("kind", ["large", "If-Match", "If-None-Match"])
def test_others_are_answered_meanwhile(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    merge_patch = updates.FORMS[MERGE]

    def slow(*args: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return merge_patch(*args)

    monkeypatch.setitem(updates.FORMS, MERGE, slow)
    with (
        MemSync("foo", {"n": 7}, {"server": OPTIONS}, engine="memory") as mem,
        ThreadPoolExecutor() as pool,
    ):
        url = url_of(mem)
        headers = {"If_Match": read(url).tag} if kind == "If-Match" else {}
        if kind == "If-None-Match":
            headers["If_None_Match"] = '"other"'
        value = "x" * (20_000 if kind == "large" else 1)
        answer = pool.submit(send, url, MERGE, json.dumps({"x": value}).encode(), **headers)
        assert begun.wait(20)
        try:
            assert fetch(url.replace("foo", "healthz"), timeout=5).status == 200
        finally:
            go_on.set()
        assert answer.result().json["outcome"] == "applied"
        assert mem.snapshot() == {"n": 7, "x": value}
