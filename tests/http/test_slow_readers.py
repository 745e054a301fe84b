"""A client on a slow line gets its whole answer."""

from __future__ import annotations

import socket
import threading

import pytest

from memsync import MemSync
from memsync.http import protocol
from memsync.http.protocol import BoundedProtocol
from memsync.testing import until

from .client import address_of, url_of

pytestmark = pytest.mark.process

STEP = 8_000_000  # bytes that the client takes at a time: more than the system keeps for it


def test_a_client_that_reads_slowly_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a step between two checks; a check that comes before waits for the next one."""
    monkeypatch.setattr(protocol, "WRITE_SECONDS", 0.05)
    has_read = threading.Event()
    checks = []
    check = BoundedProtocol._check_progress

    def checked(self: BoundedProtocol, before: int) -> None:
        if not has_read.is_set():
            self._writing = self.loop.call_later(0.05, self._check_progress, before)
            return
        has_read.clear()
        checks.append(before)
        check(self, before)

    monkeypatch.setattr(BoundedProtocol, "_check_progress", checked)
    size = 5 * STEP
    mem = MemSync("big", {"text": "x" * size}, {"server": {"port": 0}}, engine="memory")
    with mem, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.settimeout(20)
        connection.connect(address_of(url_of(mem)))
        connection.sendall(
            b"GET /big/text HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        received, wanted = 0, STEP
        while data := connection.recv(1 << 16):
            received += len(data)
            if received >= wanted and len(checks) < 3:
                wanted += STEP
                done = len(checks)
                has_read.set()
                until(lambda: len(checks) > done)  # noqa: B023  # called in this round
    assert received > size
    assert len(checks) >= 3
