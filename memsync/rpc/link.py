"""What the two halves of RPC see of each other: links carry messages, receivers act on them.

A link is one connection between a caller, which has opened it, and a callee. `Caller` and `Callee`
are the receivers at its ends.
"""

from __future__ import annotations

from typing import Protocol

from .messages import Message


class LinkDown(ConnectionError):
    """The link was down before, so nothing of a message was sent."""


class Link(Protocol):
    """One end of a connection."""

    peer: str
    """The id of the peer at the other end."""

    pid: int
    """The process of that peer."""

    max_bytes: int
    """The largest message that the link carries; see `messages.encode`."""

    @property
    def is_open(self) -> bool:
        """Whether the link is not down, as far as this end knows."""

    def send(self, message: Message) -> None:
        """Send a message; any thread may call it, and messages of one thread stay in order.

        Raises `ConnectionError` when the link is down (`LinkDown`: it was before), and
        `TooLargeError` for a message over `max_bytes`, which leaves the link usable. It may block
        for a bounded time.
        """

    def close(self) -> None:
        """Close the connection; the receivers at both ends are called with ``lost``."""


class Receiver(Protocol):
    """What a link does with what it reads; see `Caller` and `Callee`.

    The link calls it on its I/O thread, one call at a time. It neither blocks nor runs code of the
    program.
    """

    def received(self, message: Message) -> None:
        """Act on a message; raises `ProtocolError` for one that this end must not receive."""

    def lost(self, reason: str) -> None:
        """The link is down. Called once; nothing follows."""
