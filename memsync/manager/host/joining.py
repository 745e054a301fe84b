"""The queue of peers that ask a candidate or a host to attach them.

Handshakes end on their own threads, and the driver's thread takes the peers from the queue.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress

from ..platform.waker import Waker
from ..transport.channel import Channel
from ..transport.messages import Hello


class JoiningPeers:
    """A queue from the handshakes' threads to the driver; the handshake slots bound it."""

    def __init__(self, waker: Waker) -> None:
        self._waker = waker
        self._queue: deque[tuple[Channel, Hello]] = deque()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._queue)

    def accept(self, channel: Channel, hello: Hello) -> None:
        """Queue a peer (called on a handshake's thread)."""
        self._queue.append((channel, hello))
        if self._is_closed:
            self._close_queued()
        self._waker.wake()

    def take(self) -> tuple[Channel, Hello]:
        return self._queue.popleft()

    def close(self) -> None:
        """Close the connections of the queued peers, and of all later ones."""
        self._is_closed = True
        self._close_queued()

    def _close_queued(self) -> None:
        with suppress(IndexError):  # a second thread may empty the queue meanwhile
            while True:
                self._queue.popleft()[0].close()
