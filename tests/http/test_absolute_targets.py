"""A request target in absolute form, as a proxy gets it: its authority counts, not ``Host``."""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from memsync import MemSync

from .client import Answer, address_of, url_of

pytestmark = pytest.mark.process


@pytest.fixture
def mem() -> Iterator[MemSync[Any]]:
    options = {"server": {"port": 0, "allowedHosts": ["box.example"]}}
    with MemSync("foo", {"n": 1, "a/b": 2}, options, engine="memory") as mem:
        yield mem


class _Received:
    """Bytes that an `HTTPResponse` can read."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def ask(mem: MemSync[Any], target: str, *headers: str, version: str = "1.1") -> Answer:
    """The answer to a GET with these lines as its only headers, and ``Connection: close``."""
    head = "\r\n".join([f"GET {target} HTTP/{version}", *headers, "Connection: close", "", ""])
    with socket.create_connection(address_of(url_of(mem)), timeout=10) as client:
        client.sendall(head.encode())
        received: Any = _Received(client.makefile("rb").read())
    response = http.client.HTTPResponse(received)
    response.begin()
    return Answer(response)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/foo", {"n": 1, "a/b": 2}),
        ("/foo/n", 1),
        ("/foo/a%2Fb", 2),
        ("/foo?path=/n", 1),
        ("", {"objects": ["foo"]}),
        ("?", {"objects": ["foo"]}),
    ],
)
def test_it_is_answered_like_its_path(mem: MemSync[Any], path: str, value: Any) -> None:
    for start in ("http://localhost:8883", "HTTP://Box.Example", "http://[::1]:80"):
        answer = ask(mem, start + path, "Host: localhost:8883")
        assert (answer.status, answer.json) == (200, value)


def test_its_authority_counts_whatever_host_says(mem: MemSync[Any]) -> None:
    assert ask(mem, "http://localhost/foo/n", "Host: evil.example").status == 200
    assert ask(mem, "http://localhost/foo/n", version="1.0").status == 200
    for authority in ("evil.example", "evil.example:80", "me@localhost", "localhost:x", ""):
        answer = ask(mem, f"http://{authority}/foo/n", "Host: localhost")
        assert (answer.status, answer.json["code"]) == (421, "ERR_HOST")


def test_an_origin_is_compared_with_its_authority(mem: MemSync[Any]) -> None:
    target = "http://localhost:1/foo/n"
    assert ask(mem, target, "Host: a", "Origin: http://localhost:1").status == 200
    answer = ask(mem, target, "Host: evil.example", "Origin: http://evil.example")
    assert (answer.status, answer.json["code"]) == (403, "ERR_ORIGIN")


def test_it_needs_the_token_too() -> None:
    options = {"server": {"port": 0, "token": "x"}}
    with MemSync("foo", {"n": 1}, options, engine="memory") as mem:
        target = "http://localhost/foo"
        assert ask(mem, target, "Host: localhost").status == 401
        assert ask(mem, target, "Host: localhost", "Authorization: Bearer x").status == 200
        assert ask(mem, "http://localhost/healthz", "Host: localhost").status == 200
