"""Opening an authenticated connection: the stdlib manager's handshake, with deadlines.

Timeouts are set as socket options, because the stdlib's handshake reads the descriptor itself.
Python's own timeouts would make the descriptor non-blocking.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from multiprocessing import AuthenticationError
from multiprocessing.connection import answer_challenge, deliver_challenge
from typing import Any

import msgspec

from ...errors import AuthenticationFailedError, ProtocolError
from ...runtime import forks
from ..folder.records import Address
from ..platform import sockets
from ..platform.sockets import Connection
from ..timing import TIMING
from .channel import Channel, ChannelLost


def set_deadline(sock: socket.socket, seconds: float) -> None:
    """Bound each blocking call on the socket; 0 means no bound."""
    whole = int(seconds)
    value = struct.pack("ll", whole, int((seconds - whole) * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)


def set_up(sock: socket.socket, seconds: float) -> None:
    """Set the deadline and the buffer of a new socket, and send its small messages at once."""
    set_deadline(sock, seconds)
    if sock.family == socket.AF_UNIX:
        with contextlib.suppress(OSError):  # some systems refuse a large buffer
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, TIMING.socket_bytes)
    else:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(AttributeError, OSError):  # a system without it
            # The socket is writable when all has been sent, not when there is room for more.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 1)


def to_channel(connection: Connection) -> Channel:
    """Turn an authenticated connection into a channel."""
    with forks.opening:
        sock = sockets.socket(fileno=os.dup(connection.fileno()))
        channel = Channel(sock)
        forks.register(channel, sock.close)
        forks.release(connection)
        connection.close()
    set_up(sock, TIMING.receive)
    return channel


def dial(address: Address, authkey: bytes, hello: bytes, *, timeout: float) -> Channel:
    """Connect to a host, authenticate and ask to be attached.

    Raises `ChannelLost` when nobody answers within `timeout` seconds, `AuthenticationFailedError`
    when the keys differ.
    """
    with _authenticated(address, authkey, timeout) as connection:
        connection.send((None, "attach", (hello,), {}))
        return to_channel(connection)


def knock(address: Address, authkey: bytes, *, timeout: float) -> Any:
    """Check that a host authenticates and answers, without joining it; raises as `dial` does.

    Returns its named locks, as `lock_facts` describes them. Each step may take `timeout` seconds.
    """
    with _authenticated(address, authkey, timeout) as connection:
        connection.send((None, "dummy", (), {}))
        return connection.recv()[1]


def inspect(
    address: Address, authkey: bytes, question: dict[str, Any], *, timeout: float
) -> dict[str, Any]:
    """Ask a host, without joining it; raises as `dial` does, and `ProtocolError`.

    `host.inspection` has the questions and the answers. Each step may take `timeout` seconds.
    """
    with _authenticated(address, authkey, timeout) as connection:
        connection.send((None, "inspect", (question,), {}))
        kind, result = connection.recv()
    if kind != "#RETURN":
        raise ProtocolError(f"the host at {address} has refused a question: {result}")
    answer: dict[str, Any] = msgspec.msgpack.decode(result)
    return answer


@contextlib.contextmanager
def _authenticated(address: Address, authkey: bytes, timeout: float) -> Iterator[Connection]:
    """A connection on which both sides have proved that they have the key; closed at the end."""
    connection = _connect(address, timeout)
    try:
        answer_challenge(connection, authkey)
        deliver_challenge(connection, authkey)
        yield connection
    except AuthenticationError as error:
        raise AuthenticationFailedError(
            f"the host at {address} has another authkey: it uses another rendezvous folder, or the "
            "file 'authkey' has just been replaced; start again, with the host's MEMSYNC_DIR"
        ) from error
    except BlockingIOError as error:  # the socket option's timeout has passed
        raise ChannelLost(f"handshake with {address}: no answer within {timeout:g} s") from error
    except (OSError, EOFError) as error:
        raise ChannelLost(f"handshake with {address}: {str(error) or 'end of file'}") from error
    finally:
        if not connection.closed:
            forks.release(connection)
            connection.close()


def _connect(address: Address, timeout: float) -> Connection:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    try:
        with forks.opening:
            sock = sockets.socket(family)
            forks.register(sock, sock.close)
    except OSError as error:
        raise ChannelLost(f"connecting to {address}: {error}") from error
    try:
        set_up(sock, timeout)
        sock.connect(address)
    except OSError as error:
        forks.release(sock)
        sock.close()
        raise ChannelLost(f"connecting to {address}: {error}") from error
    with forks.opening:
        forks.release(sock)
        connection = Connection(sock.detach())
        forks.register(connection, connection.close)
    return connection
