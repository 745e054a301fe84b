"""When a host that does not stop lets another peer host in its place.

A process that burns CPU in pure Python gives the interpreter away every few milliseconds only, and
each write of each peer would wait for that. So a host that notices its own *lag* seeks a peer that
has none. And a dedicated host (``serverOnly``) is to host wherever there is one.

Peers volunteer, so nobody is chosen who is busy, frozen or gone; the first to answer it is.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING

from ..replication.messages import Seek, frame
from .outgoing import Attached, Outgoing

if TYPE_CHECKING:
    from .node import Node

PAUSE = 10.0  # seconds between two reliefs
_RHYTHM = 0.1  # seconds between two looks at the own lag
_LOOKS = 5  # the last ones count,
_ENOUGH = 3  # and so many of them must tell of lag: a machine that stutters is not a busy process
_IDLE_LOOKS = 10  # so many a peer takes before it volunteers: one may fall between two tasks,
_TOLERATED = 2  # and so many of them may tell of lag
_STALE = 0.5  # seconds after which earlier looks say nothing any more
_INTEREST = 5.0  # seconds for which a peer that asked for something may ask again
_GIVEN_AWAY = 0.002  # seconds for which a volunteer gives the interpreter away, to be sure


class Relief:
    """Whether a host is to be relieved, and by whom (driver only)."""

    def __init__(self, node: Node, out: Outgoing) -> None:
        self.successor: str | None = None  # who has volunteered
        self.reason = ""
        self._node = node
        self._out = out
        self._next_look = 0.0  # monotonic seconds
        self._lags: deque[bool] = deque(maxlen=_LOOKS)
        self._interest_until = 0.0  # monotonic seconds
        self._asked: set[str] = set()  # who may volunteer

    def asked(self) -> None:
        """A peer wants something of this host."""
        self._interest_until = self._node.machine.monotonic() + _INTEREST

    @property
    def next_look(self) -> float:
        """When to look for whether this process is busy (monotonic seconds)."""
        due = max(self._next_look, self._node.no_relief_before)
        return due if due < self._interest_until else float("inf")

    def look(self, now: float) -> None:
        """See whether to seek a successor, if it is time (monotonic seconds)."""
        if now < self._next_look:
            return
        self._next_look = now + _RHYTHM
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
        self.reason = "relieved, for its process is busy"
        return able if self._is_busy(now) else []

    def _is_busy(self, now: float) -> bool:
        if not self._node.no_relief_before <= now < self._interest_until:
            self._lags.clear()
            return False  # nobody waits for this process; and looking costs it its turn
        self._lags.append(_is_lagging(self._node))
        return sum(self._lags) >= _ENOUGH


class Readiness:
    """Whether a peer that is asked would host (holder of the reader role)."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lags: deque[bool] = deque(maxlen=_IDLE_LOOKS)
        self._looked_at = 0.0

    def sought(self) -> bool:
        """A host asks, which it does again and again."""
        if self._node.options.server_only:
            return True
        now = self._node.machine.monotonic()
        if now - self._looked_at > _STALE:
            self._lags.clear()
        self._looked_at = now
        self._lags.append(_is_lagging(self._node, _GIVEN_AWAY))
        return len(self._lags) == _IDLE_LOOKS and sum(self._lags) <= _TOLERATED


def able_to_host(node: Node, out: Outgoing) -> list[Attached]:
    """The attached members that may host and keep up."""
    members = node.state.members
    return [
        attached
        for peer, attached in out.attached.items()
        if peer in members and not members[peer]["clientOnly"] and not attached.lags
    ]


def is_dedicated(node: Node, peer: str) -> bool:
    """Whether a member is there to host, and for nothing else."""
    return bool(node.state.members[peer]["serverOnly"])


def _is_lagging(node: Node, given_away: float = 0.0001) -> bool:
    """Whether a thread of this process waits for the interpreter, when it has something to do."""
    return node.machine.lag(given_away) > sys.getswitchinterval() / 2
