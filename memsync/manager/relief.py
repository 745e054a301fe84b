"""When a host that does not stop lets another peer host in its place.

A process that burns CPU in pure Python gives the interpreter away every few milliseconds only, and
each write of each peer would wait for that. So a host that notices its own *lag* seeks a peer that
has none. So does one that has no descriptors left for peers that come. And a dedicated host
(``serverOnly``) is to host wherever there is one.

The host's loop measures its lag at odd moments, for which it would have been awake anyway if a
message had come then: whoever looks when it was given the interpreter finds it free. Peers
volunteer, so nobody is chosen who is busy, frozen or gone; the first to answer it is.
"""

from __future__ import annotations

import sys
from collections import deque
from itertools import cycle
from typing import TYPE_CHECKING

from ..errors import RendezvousError
from ..replication.messages import Seek, frame
from .outgoing import Attached, Outgoing

if TYPE_CHECKING:
    from .node import Node

PAUSE = 10.0  # seconds between two reliefs
_RHYTHM = 0.05  # seconds between two requests for a successor
# Seconds between two moments at which the lag is measured; odd, to fall in step with no program.
_STEPS = (0.007, 0.017, 0.011, 0.013, 0.023, 0.009)
_WINDOW = 20  # of those moments the last ones count:
_ENOUGH = 3  # so many must tell of lag,
_SHARE = 0.25  # and this part of them; one moment, as when garbage is collected, says nothing
_IDLE_LOOKS = 10  # so many a peer takes before it volunteers: one may fall between two tasks,
_TOLERATED = 2  # and so many of them may tell of lag
_STALE = 0.5  # seconds after which earlier looks say nothing any more
_INTEREST = 5.0  # seconds for which a peer that asked for something may ask again
_OWN_DESCRIPTORS = 8  # that a host needs beside one for each peer
_GIVEN_AWAY = 0.002  # seconds for which a volunteer gives the interpreter away, to be sure
_SHORT_PATIENCE = 2.0  # seconds of shortage after which a host gives up that none can relieve


class Relief:
    """Whether a host is to be relieved, and by whom (driver only)."""

    def __init__(self, node: Node, out: Outgoing) -> None:
        self.successor: str | None = None  # who has volunteered
        self.reason = ""
        self._node = node
        self._out = out
        self._steps = cycle(_STEPS)
        self._due = 0.0  # when the lag is measured next (monotonic seconds)
        self._began, self._waits = 0.0, 0  # when the loop began to wait, and how often it had
        self._lags: deque[bool] = deque(maxlen=_WINDOW)
        self._next_request = 0.0  # monotonic seconds
        self._interest_until = 0.0  # monotonic seconds
        self._asked: set[str] = set()  # who may volunteer

    def asked(self) -> None:
        """A peer wants something of this host."""
        self._interest_until = self._node.machine.monotonic() + _INTEREST

    @property
    def next_look(self) -> float:
        """When the loop has to be awake, to see how late it is (monotonic seconds)."""
        due = max(self._due, self._node.no_relief_before)
        return due if due < self._interest_until or self._is_short() else float("inf")

    def wait_begins(self) -> None:
        """The loop is about to wait for what comes next."""
        self._began, self._waits = self._node.machine.monotonic(), self._node.machine.waits()

    def wait_ended(self) -> None:
        """The loop goes on: late, if it was to be awake at a certain moment and could not."""
        if self._began <= self._due <= self._node.machine.monotonic():
            self._lags.append(_is_long(self._node.machine.lateness(self._due, self._waits)))

    def look(self, now: float) -> None:
        """See whether to seek a successor, if it is time (monotonic seconds)."""
        if now < self._due:
            return
        self._due = now + next(self._steps)
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
            self._lags.clear()
            return []
        if self._is_short():
            self.reason = "relieved, for its process has no descriptors or threads left for peers"
            self._give_up_if_hopeless(now, able)
            return able
        self.reason = "relieved, for its process is busy"
        return able if self._is_busy(now) else []

    def _is_busy(self, now: float) -> bool:
        if now >= self._interest_until:
            self._lags.clear()
            return False  # nobody waits for this process
        late = sum(self._lags)
        return late >= _ENOUGH and late >= _SHARE * len(self._lags)

    def _is_short(self) -> bool:
        """Whether peers cannot be taken in, for lack of descriptors or threads."""
        host = self._node.hosting
        return host is not None and host.seat.server.short_since is not None

    def _give_up_if_hopeless(self, now: float, able: list[Attached]) -> None:
        """Raise `RendezvousError` where only peers that are kept out could host instead."""
        host = self._node.hosting
        since = host.seat.server.short_since if host is not None else None
        if able or since is None or now - since < _SHORT_PATIENCE:
            return
        living = self._node.folder.living_peers()
        outside = living.keys() - self._out.attached.keys() - {self._node.id}
        if any(not living[peer].get("clientOnly") for peer in outside):
            raise RendezvousError(
                "this process has no descriptors or threads left for the peers that wait: close "
                "what is not needed, or raise the limit on open files (ulimit -n)"
            )


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
        self._lags.append(_is_long(self._node.machine.lag(_GIVEN_AWAY)))
        is_idle = len(self._lags) == _IDLE_LOOKS and sum(self._lags) <= _TOLERATED
        return is_idle and has_room(self._node, len(self._node.state.members))


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


def _is_long(lag: float) -> bool:
    """Whether a thread waited for the interpreter, when it had something to do (seconds)."""
    return lag > sys.getswitchinterval() / 2
