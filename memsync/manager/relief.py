"""When a host that does not stop lets another peer host in its place.

A process that burns CPU in pure Python gives the interpreter away every few milliseconds only, and
each write of each peer would wait for that. So a host that notices its own *lag* seeks a peer that
has none. So does one that has no descriptors left for peers that come. And a dedicated host
(``serverOnly``) is to host wherever there is one.

Peers volunteer, so nobody is chosen who is busy, frozen or gone; the first to answer it is. How a
process knows that it is busy, or idle, is told in `lag`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import RendezvousError
from ..replication.codec import frame
from .lag import Lag
from .messages import Seek
from .outgoing import Attached, Outgoing

if TYPE_CHECKING:
    from .node import Node

PAUSE = 10.0  # seconds between two reliefs
_RHYTHM = 0.05  # seconds between two requests for a successor
_STALE = 0.5  # seconds after which a peer that is asked no more stops measuring
_INTEREST = 5.0  # seconds for which a peer that asked for something may ask again
_OWN_DESCRIPTORS = 8  # that a host needs beside one for each peer
_SHORT_PATIENCE = 2.0  # seconds of shortage after which a host gives up that none can relieve


class Relief:
    """Whether a host is to be relieved, and by whom (driver only)."""

    def __init__(self, node: Node, out: Outgoing) -> None:
        self.successor: str | None = None  # who has volunteered
        self.reason = ""
        self._node = node
        self._out = out
        self.lag = Lag(node.machine)  # of the host's loop
        self._next_request = 0.0  # monotonic seconds
        self._interest_until = 0.0  # monotonic seconds
        self._asked: set[str] = set()  # who may volunteer

    def asked(self) -> None:
        """A peer wants something of this host."""
        self._interest_until = self._node.machine.monotonic() + _INTEREST

    @property
    def next_look(self) -> float:
        """When the loop has to be awake for this (monotonic seconds)."""
        return min(self.lag.due, self._next_request if self._is_short() else float("inf"))

    def look(self, now: float) -> None:
        """See whether to seek a successor, if it is time (monotonic seconds)."""
        # Nobody else waits for this process, and measuring costs it its turn.
        if self._node.no_relief_before <= now < self._interest_until:
            self.lag.watch(now)
        else:
            self.lag.rest()
        if now < self._next_request:
            return
        self._next_request = now + _RHYTHM
        sought = self._sought(now)
        self._asked = {attached.peer for attached in sought}
        for attached in sought:
            self._out.answer(attached, frame(Seek()))

    def volunteers(self, peer: str) -> None:
        """A peer would host."""
        if self.successor is None and peer in self._asked:
            self.successor = peer

    def _sought(self, now: float) -> list[Attached]:
        if self._node.options.server_only:
            return []
        able = able_to_host(self._node, self._out)
        dedicated = [each for each in able if is_dedicated(self._node, each.peer)]
        if dedicated:
            self.reason = "relieved by a dedicated host"
            return dedicated  # at once: nobody hosts in its place again
        if now < self._node.no_relief_before:
            return []
        if self._is_short():
            self.reason = "relieved, for its process has no descriptors or threads left for peers"
            self._give_up_if_hopeless(now)
            return able
        self.reason = "relieved, for its process is busy"
        return able if self.lag.is_busy(now) else []

    def _is_short(self) -> bool:
        """Whether peers cannot be taken in, for lack of descriptors or threads."""
        host = self._node.hosting
        return host is not None and host.seat.server.short_since is not None

    def _give_up_if_hopeless(self, now: float) -> None:
        """Raise `RendezvousError` where only peers that are kept out would host instead."""
        host = self._node.hosting
        since = host.seat.server.short_since if host is not None else None
        if since is None or now - since < _SHORT_PATIENCE:
            return  # somebody who is attached may volunteer
        living = self._node.folder.living_peers()
        outside = living.keys() - self._out.attached.keys() - {self._node.id}
        if any(not living[peer].get("clientOnly") for peer in outside):
            self._node.no_relief_before = now + PAUSE
            raise RendezvousError(
                "this process has no descriptors or threads left for the peers that wait: close "
                "what is not needed, or raise the limit on open files (ulimit -n)"
            )


class Readiness:
    """Whether a peer that is asked would host."""

    def __init__(self, node: Node) -> None:
        self.lag = Lag(node.machine)  # of the driver's loop
        self._node = node
        self._asked_at = float("-inf")  # monotonic seconds
        self._is_idle = False

    def look(self, now: float) -> None:
        """Measure, while a host asks (driver only; monotonic seconds)."""
        if now - self._asked_at < _STALE:
            self.lag.watch(now)
        else:
            self.lag.rest()
        self._is_idle = self.lag.is_idle(now)

    def sought(self) -> bool:
        """A host asks, which it does again and again (holder of the reader role)."""
        if self._node.options.server_only:
            return True
        now = self._node.machine.monotonic()
        if now - self._asked_at >= _STALE:
            self._is_idle = False
            self._node.waker.wake()  # the driver is to measure from now on
        self._asked_at = now
        return self._is_idle and has_room(self._node, len(self._node.state.members))


def able_to_host(node: Node, out: Outgoing) -> list[Attached]:
    """The attached members that may host and keep up."""
    members = node.state.members
    return [
        attached
        for peer, attached in out.attached.items()
        if peer in members and not members[peer]["clientOnly"] and not attached.lags
    ]


def has_room(node: Node, peers: int) -> bool:
    """Whether this process has the descriptors to host so many peers."""
    return node.machine.spare_descriptors() >= peers + _OWN_DESCRIPTORS


def is_dedicated(node: Node, peer: str) -> bool:
    """Whether a member is there to host, and for nothing else."""
    return bool(node.state.members[peer]["serverOnly"])
