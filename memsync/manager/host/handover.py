"""How a host lets another peer go on in its place, so that nobody notices.

It orders no write any more and *grants* the next epoch to a peer that has everything; when that has
taken the epoch, the others are let go to it. If it does not, a host that stops asks another peer;
one that steps down frees its epoch, and an election follows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ...replication.codec import frame
from ..context import PeerContext
from ..platform.task import Task
from ..transport.messages import Grant
from .claim import EpochClaim
from .fanout import ClientSession, FanOut
from .ordering import Ordering
from .step_down import able_to_host, is_dedicated

log = logging.getLogger("memsync.host")


class Handover:
    """The hand-over of a host (driver only); `turn` is one round of its loop."""

    def __init__(
        self,
        ctx: PeerContext,
        claim: EpochClaim,
        fanout: FanOut,
        ordering: Ordering,
        turn: Callable[[float], Task[None]],
    ) -> None:
        self.has_granted = False  # a peer is asked to go on from here: nothing is appended
        self.leaves_file = False  # for the successor to remove
        self._asked: str | None = None  # that peer, unless it has left
        self._ctx = ctx
        self._state = ctx.participant.state
        self._folder = ctx.place.folder
        self._platform = ctx.platform
        self._claim = claim
        self._fanout = fanout
        self._ordering = ordering
        self._turn = turn

    def to(self, peer: str) -> Task[None]:
        """Let this peer take the next epoch, and wait until it has; the host stays in the group."""
        self._begin()
        now = self._platform.monotonic()
        self._ctx.no_step_down_before = now + self._ctx.timing.step_down_pause
        successor = self._fanout.clients.get(peer)
        if successor is not None and not successor.is_slow:
            yield from self._grant(successor, now + self._ctx.timing.successor, leaves=False)

    def to_anybody(self) -> Task[None]:
        """Let a peer take the next epoch, and wait until it has; the host leaves the group."""
        self._begin()
        self.leaves_file = True
        deadline = self._platform.monotonic() + self._ctx.timing.handover
        asked: set[str] = set()
        while not self._claim.deposed and self._platform.monotonic() < deadline:
            successor = self._successor(asked)
            if successor is not None:
                asked.add(successor.peer)
                yield from self._grant(successor, deadline, leaves=True)
            elif self._is_anybody_left(asked):
                yield from self._look()
            else:
                self.leaves_file = False
                return

    def has_left(self, peer: str) -> None:
        """A peer stops as well, so it does not take over."""
        if peer == self._asked:
            self._asked = None

    def is_last(self) -> bool:
        """Whether nobody is left who may hold the object."""
        others = {*self._state.members, *self._folder.living_peers()} - {self._ctx.id}
        return all(self._folder.is_alive(peer) is False for peer in others)

    def _begin(self) -> None:
        self._ordering.is_over = self._claim.is_offered = True

    def _is_gone(self) -> bool:
        """Whether the peer that was asked has left, or died."""
        if self._asked is None:
            return True
        is_attached = self._asked in self._fanout.clients  # not any more, where it takes over
        return not is_attached and self._folder.is_alive(self._asked) is not True

    def _grant(self, successor: ClientSession, deadline: float, *, leaves: bool) -> Task[None]:
        grant = Grant(self._claim.epoch + 1, self._state.version, leaves)
        self._fanout.answer(successor, frame(grant))
        self.has_granted, self._asked = True, successor.peer
        patience = min(self._platform.monotonic() + self._ctx.timing.successor, deadline)
        while (
            not self._claim.deposed
            and not self._is_gone()
            and self._platform.monotonic() < patience
        ):
            yield from self._look()
        self.has_granted = False
        if self._claim.deposed:
            log.info("handed over %s to=%s", self._ctx, successor.peer)

    def _look(self) -> Task[None]:
        yield from self._turn(self._ctx.timing.handover_check)
        self._claim.look()

    def _is_anybody_left(self, asked: set[str]) -> bool:
        """Whether a peer lives that could take over, but is not session at the moment."""
        living = self._folder.living_peers()
        return any(
            peer not in asked and peer not in self._fanout.clients and not content.get("clientOnly")
            for peer, content in living.items()
            if peer != self._ctx.id
        )

    def _successor(self, asked: set[str]) -> ClientSession | None:
        members = self._state.members
        able = [each for each in able_to_host(members, self._fanout) if each.peer not in asked]
        dedicated = (each for each in able if is_dedicated(members, each.peer))
        return next(dedicated, able[0] if able else None)
