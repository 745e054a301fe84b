"""Find out whether the server of a port is memsync's."""

from __future__ import annotations

import json
import socket
from typing import NamedTuple

_SECONDS = 2.0
_MAX_BYTES = 65536


class Found(NamedTuple):
    """A server of memsync."""

    pid: int


def look_at(host: str, port: int) -> Found | None:
    """The server of memsync at an address; None if it is another one, or does not answer."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        with socket.create_connection((host, port), _SECONDS) as connection:
            connection.settimeout(_SECONDS)
            connection.sendall(
                b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            answer = b""
            while len(answer) < _MAX_BYTES and (data := connection.recv(_MAX_BYTES)):
                answer += data
        body = json.loads(answer.partition(b"\r\n\r\n")[2])
        return Found(int(body["pid"])) if body["service"] == "memsync" else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
