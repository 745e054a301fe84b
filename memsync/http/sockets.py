"""The sockets of a server: no forked child keeps them, and their number is bounded.

A child that kept the listening socket would keep the port; one that kept a connection would hide
the death of the parent from the client.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import resource
import selectors
import socket
from functools import partial
from typing import Any

from ..runtime import forks

MAX_CONNECTIONS = 1024  # or half of the descriptors, which peers and the program need as well
_BACKLOG = 128
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Connection(socket.socket):
    """One accepted connection."""

    listener: ListeningSocket | None = None

    def close_copy(self) -> None:
        """In a forked child: close the descriptor, which may have another use soon."""
        os.close(self.detach())

    def close(self) -> None:
        forks.release(self)
        if self.listener is not None:
            self.listener.connections.discard(self)
        super().close()


class ListeningSocket(socket.socket):
    """Accepts a bounded number of connections at a time."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.connections: set[Connection] = set()

    def close_copy(self) -> None:
        """In a forked child: close the descriptor."""
        os.close(self.detach())

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection, as the event loop asks for it; one too many is refused."""
        with forks.opening:
            accepted, address = super().accept()
            number = accepted.detach()
            connection = Connection(self.family, self.type, self.proto, number)
            forks.register(connection, connection.close_copy)
        connection.listener = self
        self.connections.add(connection)
        if len(self.connections) <= _most_connections():
            return connection, address
        connection.setblocking(False)
        try:
            connection.send(_BUSY)
        except OSError:
            pass
        finally:
            connection.close()
        raise ConnectionAbortedError(errno.ECONNABORTED, "too many connections")

    def close(self) -> None:
        forks.release(self)
        super().close()

    def close_all(self) -> None:
        """Close the connections, too, once the event loop has ended."""
        for connection in list(self.connections):
            connection.close()
        self.close()


def _most_connections() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, soft // 2)


def listen(host: str, port: int) -> ListeningSocket:
    """Listen on an address; raises `OSError`."""
    # asyncio sets TCP_NODELAY only where the protocol number says TCP; without it, an answer whose
    # head and body are two writes takes 40 ms.
    try:
        family, _, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except UnicodeError as error:  # of the codec for names of hosts
        raise socket.gaierror(socket.EAI_NONAME, f"this is no name of a host: {error}") from error
    with forks.opening:
        listener = ListeningSocket(family, socket.SOCK_STREAM, protocol)
        forks.register(listener, listener.close_copy)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def overlap(host: str, other: str) -> bool:
    """Whether two hosts are names of one address, or one of them is all addresses.

    >>> overlap("localhost", "127.0.0.1"), overlap("127.0.0.1", "127.0.0.2")
    (True, False)
    """
    try:
        addresses = [
            ipaddress.ip_address(socket.getaddrinfo(each, 0, type=socket.SOCK_STREAM)[0][4][0])
            for each in (host, other)
        ]
    except (OSError, ValueError):
        return False  # `listen` says what is wrong
    return addresses[0] == addresses[1] or any(each.is_unspecified for each in addresses)


class Loop(asyncio.SelectorEventLoop):
    """An event loop; a forked child closes its copies of the descriptors."""

    def __init__(self) -> None:
        with forks.opening:
            selector = selectors.DefaultSelector()
            super().__init__(selector)
            forks.register(self, partial(_close_copies, self, selector))

    def close(self) -> None:
        forks.release(self)
        super().close()


def _close_copies(loop: asyncio.AbstractEventLoop, selector: selectors.BaseSelector) -> None:
    selector.close()
    for name in ("_ssock", "_csock"):  # by which other threads wake the loop
        pipe = getattr(loop, name, None)
        if pipe is not None:
            os.close(pipe.detach())
