"""Handover: a host lets another peer take the next epoch before its own ends.

The host stops ordering and *grants* the next epoch to a peer that has all entries. Once that peer
has taken the epoch, the host releases the others, and they join it. If the peer fails, a host that
stops asks another one; a host that steps down frees its epoch, and an election follows.
"""

from __future__ import annotations

from collections.abc import Callable

from ...replication.codec import frame
from ...runtime.logs import Logger
from ..context import PeerContext
from ..platform.task import Task
from ..transport.messages import Grant
from .claim import EpochClaim
from .fanout import ClientSession, FanOut
from .ordering import Ordering
from .step_down import able_to_host, is_dedicated

log = Logger("memsync.host")


class Handover:
    """The handover of a host (driver only); `play_round` is one round of its loop."""

    def __init__(
        self,
        ctx: PeerContext,
        claim: EpochClaim,
        fanout: FanOut,
        ordering: Ordering,
        play_round: Callable[[float], Task[None]],
    ) -> None:
        self.has_granted = False  # a grant is open: nothing may be appended
        self.leaves = False  # this peer is on its way out
        self.was_last = False  # of the group: nobody has taken over
        self._asked: str | None = None  # the peer with the grant, unless it has left
        self._ctx = ctx
        self._state = ctx.participant.state
        self._folder = ctx.place.folder
        self._platform = ctx.platform
        self._claim = claim
        self._fanout = fanout
        self._ordering = ordering
        self._play_round = play_round

    def to(self, peer: str) -> Task[None]:
        """Hand over to one peer and stay in the group."""
        self._begin()
        now = self._platform.monotonic()
        self._ctx.no_step_down_before = now + self._ctx.timing.step_down_pause
        successor = self._fanout.clients.get(peer)
        if successor is not None and not successor.is_slow:
            yield from self._grant(successor, now + self._ctx.timing.successor, leaves=False)

    def to_any_client(self) -> Task[None]:
        """Hand over to an attached peer, if there is one, and stay in the group."""
        successor = self._successor(set())
        if successor is not None:
            yield from self.to(successor.peer)

    def to_anybody(self) -> Task[None]:
        """Hand over to some peer and leave the group."""
        self._begin()
        self.leaves = True
        deadline = self._platform.monotonic() + self._ctx.timing.handover
        asked: set[str] = set()
        while not self._claim.deposed and self._platform.monotonic() < deadline:
            successor = self._successor(asked)
            if successor is not None:
                asked.add(successor.peer)
                yield from self._grant(successor, deadline, leaves=True)
            elif self._is_anybody_left(asked):
                yield from self._wait()
            else:
                self.was_last = self.is_last()
                return

    def has_left(self, peer: str) -> None:
        """A peer stops, so it does not take over."""
        if peer == self._asked:
            self._asked = None

    def is_last(self) -> bool:
        """Whether no other peer can hold the object."""
        others = {*self._state.members, *self._folder.living_peers()} - {self._ctx.id}
        return all(self._folder.is_alive(peer) is False for peer in others)

    def _begin(self) -> None:
        self._ordering.end()
        self._claim.offer()

    def _is_gone(self) -> bool:
        """Whether the peer with the grant has left or died."""
        if self._asked is None:
            return True
        is_attached = self._asked in self._fanout.clients  # it detaches in order to take over
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
            yield from self._wait()
        self.has_granted = False
        if self._claim.deposed:
            log.info("handed over %s to=%s", self._ctx, successor.peer)

    def _wait(self) -> Task[None]:
        yield from self._play_round(self._ctx.timing.handover_check)
        self._claim.check()

    def _is_anybody_left(self, asked: set[str]) -> bool:
        """Whether a living peer could take over that is not attached at the moment."""
        return any(
            peer not in asked and peer not in self._fanout.clients and not content.get("clientOnly")
            for peer, content in self._folder.living_peers().items()
            if peer != self._ctx.id
        )

    def _successor(self, asked: set[str]) -> ClientSession | None:
        members = self._state.members
        able = [each for each in able_to_host(members, self._fanout) if each.peer not in asked]
        dedicated = (each for each in able if is_dedicated(members, each.peer))
        return next(dedicated, able[0] if able else None)
