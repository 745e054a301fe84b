"""A small HTTP client: one request per connection, or a raw one."""

from __future__ import annotations

import json
import os
import socket
import threading
from http.client import HTTPConnection, HTTPResponse
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from memsync import MemSync


class Answer:
    """The answer to one request."""

    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def tag(self) -> str:
        tag = self.headers["etag"]
        assert tag
        return tag


def url_of(mem: MemSync[Any]) -> str:
    """The URL of an object."""
    url: str = mem.get_status()["server"]["url"]
    return url


def address_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def fetch(
    url: str,
    headers: dict[str, str] | None = None,
    *,
    method: str = "GET",
    body: bytes | None = None,
    timeout: float = 20,
) -> Answer:
    """One request; a path that is not percent-encoded is sent as it is."""
    connection = HTTPConnection(*address_of(url), timeout=timeout)
    try:
        path = url.split("/", 3)[3]
        connection.request(method, "/" + path, body, headers or {})
        return Answer(connection.getresponse())
    finally:
        connection.close()


# Tests run in several processes at a time; each begins somewhere else.
_numbers = count(os.getpid() * 97)


def free_port() -> int:
    """A port that nobody listens on.

    It is below those that the system gives to whoever asks for any free one, so no other program
    gets it before the test uses it, or while it changes hands.
    """
    for number in _numbers:
        port = 20_000 + number % 12_000
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        return port
    raise AssertionError("numbers have no end")


def is_serving() -> bool:
    """Whether the thread of a server runs in this process."""
    return any(thread.name == "memsync-http" for thread in threading.enumerate())
