"""A client on a slow line gets its whole answer."""

from __future__ import annotations

import socket
import time

import pytest

from memsync import MemSync
from memsync.http import protocol

from .client import address_of, url_of

pytestmark = pytest.mark.process


def test_a_client_that_reads_slowly_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "WRITE_SECONDS", 0.7)
    size = 20_000_000
    mem = MemSync("big", {"text": "x" * size}, {"server": {"port": 0}}, engine="memory")
    with mem, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.settimeout(10)
        connection.connect(address_of(url_of(mem)))
        connection.sendall(
            b"GET /big/text HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        begin, received = time.monotonic(), 0
        while data := connection.recv(1 << 16):
            received += len(data)
            time.sleep(max(begin + received / 10_000_000 - time.monotonic(), 0))  # 2 s in all
    assert received > size
