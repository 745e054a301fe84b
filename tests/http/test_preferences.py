"""``Prefer: wait=``: a wish, which never makes a request fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from memsync import MemSync

from .client import fetch, url_of

pytestmark = pytest.mark.process


@pytest.fixture
def mem() -> Iterator[MemSync[Any]]:
    with MemSync("foo", {"n": 0}, {"server": {"port": 0}}, engine="memory") as mem:
        yield mem


def test_an_older_version_does_not_wait(mem: MemSync[Any]) -> None:
    mem.patch({"$inc": {"n": 1}})
    at = mem.get_status()["version"] - 1
    answer = fetch(f"{url_of(mem)}/n?at={at}", {"Prefer": "wait=20"})
    assert (answer.status, answer.body) == (200, b"0")
    assert "preference-applied" not in answer.headers


@pytest.mark.parametrize(
    ("query", "headers"), [("", {"Prefer": "wait=1"}), ("?wait=0.6", {}), ("?w%61it=.6", {})]
)
def test_the_time_of_answers_is_without_waits(
    mem: MemSync[Any], query: str, headers: dict[str, str]
) -> None:
    url = url_of(mem)
    assert fetch(url + query, headers).status == 304
    figures = fetch(url.rpartition("/")[0] + "/metrics").body.decode().splitlines()
    (line,) = (line for line in figures if line.startswith("memsync_http_request_seconds_sum"))
    assert float(line.split()[1]) < 0.5
