"""Who shakes hands with a host at this moment: so many at a time, and no process holds all places.

Strangers cost a place each until their time is over. So that a crowd of them keeps nobody out, who
comes when all places are taken gets that of the process which has most of them. A process that has
shown the key waits for a place instead, for its own handshakes come to an end.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import NamedTuple

_NOTICE = 0.1  # seconds for a thread to see that its connection was cut off
_KNOWN_TIME = 1.0  # seconds that a process waits which has the key
_KNOWN_MAX = 1000  # processes
_FAIR_TIME = 0.25  # seconds that a handshake has in any case, for it takes milliseconds


class _Handshake(NamedTuple):
    since: float  # monotonic seconds
    process: int  # 0 where the system does not tell


class Handshakes:
    """The places; any thread may `end` a handshake, one thread does the rest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Condition()
        self._open: dict[Connection, _Handshake] = {}  # the oldest first
        self._known: dict[int, None] = {}  # processes that have the key, the oldest first
        self._cut: set[Connection] = set()  # whose thread has not noticed yet

    def begin(self, connection: Connection) -> bool:
        """Give a connection a place, somebody else's if need be; False when there is none."""
        newcomer = _Handshake(time.monotonic(), _process_of(connection))
        with self._lock:
            if len(self._open) >= self._most and not self._make_room(newcomer):
                return False
            if not self._lock.wait_for(self._has_room, _NOTICE):
                return False
            self._open[connection] = newcomer
        return True

    def _has_room(self) -> bool:
        return len(self._open) + len(self._cut) < self._most

    def end(self, connection: Connection, *, has_key: bool = False) -> None:
        """Give the place back; `has_key`: the process at the other end has shown the key."""
        with self._lock:
            ended = self._open.pop(connection, None)
            self._cut.discard(connection)
            if ended is not None and has_key:
                self._known[ended.process] = None
            if len(self._known) > _KNOWN_MAX:
                del self._known[next(iter(self._known))]
            self._lock.notify()

    def cut_off(self, patience: float) -> None:
        """End the handshakes that have lasted for longer than so many seconds."""
        late = time.monotonic() - patience
        with self._lock:
            for connection in [each for each, (since, _) in self._open.items() if since < late]:
                self._cut_off(connection)

    def _make_room(self, newcomer: _Handshake) -> bool:
        victim = self._who_gives_way(newcomer)
        if victim is None:
            if newcomer.process and newcomer.process not in self._known:
                return False
            # Its handshakes take milliseconds, however many, or nobody knows whose they are.
            patience = _KNOWN_TIME if newcomer.process else _FAIR_TIME
            if self._lock.wait_for(lambda: len(self._open) < self._most, patience):
                return True
            victim = next(iter(self._open))
        self._cut_off(victim)
        return True

    def _who_gives_way(self, newcomer: _Handshake) -> Connection | None:
        """The oldest of the process that has most places, with the newcomer's among its own."""
        places = Counter(each.process for each in self._open.values())
        places[newcomer.process] += 1
        most = max(places.values())
        oldest = next(each for each, (_, process) in self._open.items() if places[process] == most)
        had_time = newcomer.since - self._open[oldest].since > _FAIR_TIME
        return oldest if had_time or places[newcomer.process] < most else None

    def _cut_off(self, connection: Connection) -> None:
        del self._open[connection]
        self._cut.add(connection)
        shut_down(connection)


def shut_down(connection: Connection) -> None:
    """Wake the thread that waits for a connection: it has ended."""
    with contextlib.suppress(OSError), _socket_of(connection) as sock:
        sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def _socket_of(connection: Connection) -> Iterator[socket.socket]:
    """The connection as a socket, without a descriptor more: there may be none."""
    sock = socket.socket(fileno=connection.fileno())
    try:
        yield sock
    finally:
        sock.detach()


def _process_of(connection: Connection) -> int:
    """The process at the other end of a Unix socket, where the system tells (Linux)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return 0
    with _socket_of(connection) as sock:
        if sock.family != socket.AF_UNIX:
            return 0
        credentials = sock.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i"))
    process: int = struct.unpack("3i", credentials)[0]
    return process
