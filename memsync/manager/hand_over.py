"""How a host lets another peer go on in its place, so that nobody notices.

It orders no write any more and *grants* the next epoch to a peer that has everything; when that has
taken the epoch, the others are let go to it. If it does not, a host that stops asks another peer;
one that is to be relieved frees its epoch, and an election follows.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..replication.codec import frame
from . import relief
from .machine import Life
from .messages import Grant
from .outgoing import Attached, Outgoing
from .relief import able_to_host, is_dedicated

if TYPE_CHECKING:
    from .host import Host
    from .node import Node

log = logging.getLogger("memsync.host")

_PATIENCE = 1.0  # seconds for a successor to take over
_SUCCESSOR_PATIENCE = 0.3  # seconds after which another one is asked
_LOOK = 0.01  # seconds between two looks for whether somebody has


class HandOver:
    """The hand-over of a host (driver only)."""

    def __init__(self, node: Node, host: Host, out: Outgoing) -> None:
        self.has_begun = False  # no write is ordered any more
        self.has_granted = False  # nor anything else: a peer is asked to go on from here
        self._asked: str | None = None  # that peer, unless it has left
        self._node = node
        self._host = host
        self._out = out

    def to(self, peer: str) -> Life[None]:
        """Let this peer take the next epoch, and wait until it has; the host stays in the group."""
        self.has_begun = self._host.seat.is_offered = True
        now = self._node.machine.monotonic()
        self._node.no_relief_before = now + relief.PAUSE
        successor = self._host.attached.get(peer)
        if successor is not None and not successor.lags:
            yield from self._grant(successor, now + _SUCCESSOR_PATIENCE, leaves=False)

    def to_anybody(self) -> Life[None]:
        """Let a peer take the next epoch, and wait until it has; the host leaves the group."""
        node, host = self._node, self._host
        self.has_begun = self._host.seat.is_offered = True
        node.leaves_file = True  # the successor removes it
        deadline = node.machine.monotonic() + _PATIENCE
        asked: set[str] = set()
        while not host.seat.deposed and node.machine.monotonic() < deadline:
            successor = self._successor(asked)
            if successor is not None:
                asked.add(successor.peer)
                yield from self._grant(successor, deadline, leaves=True)
            elif self._is_anybody_left(asked):
                yield from self._look()
            else:
                node.leaves_file = False
                return

    def has_left(self, peer: str) -> None:
        """A peer stops as well, so it does not take over."""
        if peer == self._asked:
            self._asked = None

    def _is_gone(self) -> bool:
        """Whether the peer that was asked has left, or died."""
        if self._asked is None:
            return True
        is_attached = self._asked in self._host.attached  # not any more, where it takes over
        return not is_attached and self._node.folder.is_alive(self._asked) is not True

    def is_last(self) -> bool:
        """Whether nobody is left who may hold the object."""
        folder, own = self._node.folder, self._node.id
        others = {*self._node.state.members, *folder.living_peers()} - {own}
        return all(folder.is_alive(peer) is False for peer in others)

    def _grant(self, successor: Attached, deadline: float, *, leaves: bool) -> Life[None]:
        node, host = self._node, self._host
        self._out.answer(successor, frame(Grant(host.epoch + 1, node.state.version, leaves)))
        self.has_granted, self._asked = True, successor.peer
        patience = min(node.machine.monotonic() + _SUCCESSOR_PATIENCE, deadline)
        while not host.seat.deposed and not self._is_gone() and node.machine.monotonic() < patience:
            yield from self._look()
        self.has_granted = False
        if host.seat.deposed:
            log.info("handed over %s to=%s", node, successor.peer)

    def _look(self) -> Life[None]:
        yield from self._host.round(_LOOK)
        self._host.seat.look()

    def _is_anybody_left(self, asked: set[str]) -> bool:
        """Whether a peer lives that could take over, but is not attached at the moment."""
        living = self._node.folder.living_peers()
        return any(
            peer not in asked and peer not in self._host.attached and not content.get("clientOnly")
            for peer, content in living.items()
            if peer != self._node.id
        )

    def _successor(self, asked: set[str]) -> Attached | None:
        able = [each for each in able_to_host(self._node, self._out) if each.peer not in asked]
        dedicated = (each for each in able if is_dedicated(self._node, each.peer))
        return next(dedicated, able[0] if able else None)
