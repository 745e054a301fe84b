"""Slots for handshakes: a bounded number run at a time, and the oldest one yields its slot.

A stranger occupies a slot until its handshake times out. A connection that comes while all slots
are taken cuts the oldest handshake, but only after the time that a peer with the key needs.
"""

from __future__ import annotations

import contextlib
import socket

from ...clocks import monotonic
from ...runtime.native import Condition
from ..platform import sockets
from ..platform.sockets import Connection
from ..timing import TIMING


class Handshakes:
    """The slots; any thread may call `end`, the accepting thread calls the rest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Condition()
        self._open: dict[Connection, float] = {}  # start (monotonic seconds), oldest first

    def begin(self, connection: Connection) -> bool:
        """Give a connection a slot, if need be the oldest one's; False when none becomes free."""
        with self._lock:
            if not self._has_room():
                oldest = next(iter(self._open))
                left = self._open[oldest] + TIMING.handshake_grace - monotonic()
                if not self._lock.wait_for(self._has_room, max(left, 0)):
                    shut_down(oldest)
                    if not self._lock.wait_for(self._has_room, TIMING.cut_notice):
                        return False
            self._open[connection] = monotonic()
        return True

    def _has_room(self) -> bool:
        return len(self._open) < self._most

    def end(self, connection: Connection) -> None:
        """Free the connection's slot."""
        with self._lock:
            self._open.pop(connection, None)
            self._lock.notify()

    def cut_off(self, patience: float) -> bool:
        """Cut the handshakes that have lasted longer than `patience` seconds.

        Returns whether any is under way.
        """
        late = monotonic() - patience
        with self._lock:
            for connection, since in list(self._open.items()):
                if since < late:
                    shut_down(connection)
            return bool(self._open)


def shut_down(connection: Connection) -> None:
    """End a connection, so that a thread that waits for it wakes up."""
    with contextlib.suppress(OSError):
        sock = sockets.socket(fileno=connection.fileno())  # needs no further descriptor
        try:
            sock.shutdown(socket.SHUT_RDWR)
        finally:
            sock.detach()
