"""A small HTTP client: one request per connection, or a raw one."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection, HTTPResponse
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


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
