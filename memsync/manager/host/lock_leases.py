"""The leases of named locks: a frozen holder loses what it holds with one.

A holder is frozen when the host has heard nothing of it for the time of its lease. The host pings a
holder that is silent. Time in which the host itself did not run proves nothing, and is taken for
one pause between two checks. A new host begins to count at its opening.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...replication.codec import frame
from ...replication.kinds.lock import LockKind, expiring
from ...replication.lock_part import Hold, lock_part
from ...runtime.logs import Logger
from ..context import PeerContext
from ..transport.messages import Ping
from .fanout import ClientSession

log = Logger("memsync.host")

SIGN = -1  # token of these pings, whose answers need no handling

Sign = tuple[ClientSession, int] | None


class LockLeases:
    """Ends leases (driver only); `append` appends an entry, `answer` sends to one client."""

    def __init__(
        self,
        ctx: PeerContext,
        clients: Mapping[str, ClientSession],
        answer: Callable[[ClientSession, bytes], None],
        append: Callable[[str, Any], None],
    ) -> None:
        self.rhythm = float("inf")
        """Seconds between two checks."""
        self._ctx = ctx
        self._clients = clients
        self._answer = answer
        self._append = append
        self._holds: list[Hold] = []  # with a lease, of other peers
        self._revision = -1  # of the state, when they were collected
        self._checked_at = 0.0  # monotonic seconds
        self._signs: dict[str, Sign] = {}  # the last sign of life of each holder
        self._silence: dict[str, float] = {}  # seconds since then

    def check(self, now: float) -> None:
        """End the leases of frozen holders (monotonic seconds); cheap where none is due."""
        revision = lock_part(self._ctx.participant.state).revision
        if revision != self._revision:
            self._revision = revision
            self._collect()
        if not self._holds or now < self._checked_at + self.rhythm:
            return
        elapsed, self._checked_at = min(now - self._checked_at, 2 * self.rhythm), now
        self._listen(elapsed)
        for hold in self._holds:
            assert hold.lease is not None
            if self._silence[hold.peer] >= hold.lease:
                log.warning(
                    "a lock's lease is over %s holder=%s seconds=%g",
                    self._ctx,
                    hold.peer,
                    hold.lease,
                )
                self._append(LockKind.name, expiring(hold.peer, hold.request))

    def _collect(self) -> None:
        leased = lock_part(self._ctx.participant.state).leased.values()
        self._holds = [each for each in leased if each.peer != self._ctx.id]
        shortest = min((each.lease or 0.0 for each in self._holds), default=float("inf"))
        self.rhythm = shortest / self._ctx.timing.lock_checks
        peers = {each.peer for each in self._holds}
        self._silence = {peer: self._silence.get(peer, 0.0) for peer in sorted(peers)}
        self._signs = {peer: sign for peer, sign in self._signs.items() if peer in peers}

    def _listen(self, elapsed: float) -> None:
        """Count the silence of each holder, and ping those that are silent."""
        for peer in self._silence:
            session = self._clients.get(peer)
            sign = None if session is None else (session, session.signs_of_life)
            if session is not None and sign != self._signs.get(peer):
                self._silence[peer] = 0.0
            else:
                self._silence[peer] += elapsed
            if session is not None and not session.is_slow and sign != self._signs.get(peer):
                self._answer(session, frame(Ping(SIGN)))
            self._signs[peer] = sign
