"""Requests for what is no path: never a failure of the server."""

from __future__ import annotations

import socket

import pytest

from memsync import MemSync

from .client import address_of, url_of

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    "line",
    [
        "OPTIONS *",
        "GET *",
        "GET foo",
        "CONNECT localhost:80",
        "GET https://localhost/foo",
        "GET http:/foo",
        "GET http://localhost#/foo",
        "GET ?x",
    ],
)
def test_a_target_that_is_no_path_is_refused(line: str, caplog: pytest.LogCaptureFixture) -> None:
    with (
        MemSync("foo", {"n": 0}, {"server": {"port": 0}}, engine="memory") as mem,
        socket.create_connection(address_of(url_of(mem)), timeout=10) as client,
    ):
        client.sendall(f"{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"ERR_USAGE"' in answer
    assert not caplog.records
