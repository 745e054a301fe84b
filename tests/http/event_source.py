"""A client of server-sent events, as a browser's EventSource: it connects again by itself."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from typing import Any, NamedTuple

from .client import address_of


class Event(NamedTuple):
    """One event; `name` is "" for a block with a comment only."""

    name: str
    id: str
    data: Any


class Stream:
    """One connection to a stream of events."""

    def __init__(self, url: str, last: str | None = None, timeout: float = 20) -> None:
        headers = {} if last is None else {"Last-Event-ID": last}
        self.connection = HTTPConnection(*address_of(url), timeout=timeout)
        self.connection.request("GET", "/" + url.split("/", 3)[3], headers=headers)
        self.response = self.connection.getresponse()
        self.last = last or ""

    def __iter__(self) -> Iterator[Event]:
        """The events up to the end of the connection."""
        name, data = "", ""
        for raw in self.response:
            line = raw.decode().rstrip("\n")
            field, _, value = line.partition(": ")
            if field == "id":
                self.last = value
            elif field == "event":
                name = value
            elif field == "data":
                data += value
            elif not line:
                yield Event(name, self.last, json.loads(data) if data else None)
                name, data = "", ""

    def next(self) -> Event:
        """The next event with a name."""
        return next(event for event in self if event.name)

    def close(self) -> None:
        self.connection.close()
        self.response.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def events_of(url: str, last: str | None = None, pause: float = 0.05) -> Iterator[Event]:
    """The events of a URL, without end, over all connections."""
    while True:
        try:
            with Stream(url, last) as stream:
                if stream.response.status != 200:
                    raise AssertionError(stream.response.read())
                for event in stream:
                    last = event.id or last
                    yield event
        except (OSError, HTTPException):
            pass
        time.sleep(pause)


def open_raw(url: str, buffer: int | None = None) -> socket.socket:
    """A connection on which a stream was asked for, and nothing read."""
    connection = socket.socket()
    if buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(20)
    connection.connect(address_of(url))
    path = "/" + url.split("/", 3)[3]
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return connection
