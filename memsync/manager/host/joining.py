"""The peers that ask a candidate, or a host, to attach them.

Handshakes end on threads of their own; the driver's thread takes the peers from here.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress

from ..platform.waker import Waker
from ..transport.channel import Channel
from ..transport.messages import Hello


class JoiningPeers:
    """A queue from the handshakes' threads to the driver; bounded by the handshakes' places."""

    def __init__(self, waker: Waker) -> None:
        self._waker = waker
        self._queue: deque[tuple[Channel, Hello]] = deque()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._queue)

    def accept(self, channel: Channel, hello: Hello) -> None:
        """A peer asks to be attached (called on a handshake's thread)."""
        self._queue.append((channel, hello))
        if self._is_closed:
            self._turn_away()
        self._waker.wake()

    def take(self) -> tuple[Channel, Hello]:
        """The next one (driver only)."""
        return self._queue.popleft()

    def close(self) -> None:
        """Turn away who waits and who comes."""
        self._is_closed = True
        self._turn_away()

    def _turn_away(self) -> None:
        with suppress(IndexError):  # two threads are at it if a peer comes at the end
            while True:
                self._queue.popleft()[0].close()
