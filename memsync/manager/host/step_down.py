"""When a host that does not stop hands over to another peer.

A process that burns CPU in pure Python releases the GIL only every few milliseconds, and each write
of each peer waits for that. A host whose own loop is late (see `loop_lag`) pings the peers that may
host, and hands over to the first that answers two pings in time. A busy or frozen peer answers late
or never, so it is not chosen. A dedicated host (``serverOnly``) takes over from any other host.
"""

from __future__ import annotations

from collections import Counter

from ...replication.codec import frame
from ...replication.membership import Members
from ..context import PeerContext
from ..transport.messages import Ping
from .fanout import ClientSession, FanOut
from .loop_lag import LoopLag, OtherThreads


class StepDown:
    """Whether a host is to step down, and for which peer (driver only)."""

    def __init__(self, ctx: PeerContext, fanout: FanOut) -> None:
        self.successor: str | None = None
        self.reason = ""
        self.lag = LoopLag(ctx.platform, ctx.timing)  # of the host's loop
        self._others = OtherThreads(ctx.platform, ctx.timing)
        self._ctx = ctx
        self._timing = ctx.timing
        self._state = ctx.participant.state
        self._fanout = fanout
        self._interest_until = 0.0  # monotonic seconds
        self._next_ping = 0.0  # monotonic seconds
        self._pinged_at = 0.0  # monotonic seconds
        self._token = 0  # of the last ping
        self._pings = 0  # sent since the search began
        self._quick: Counter[str] = Counter()  # answers in time, by peer
        self._awaited: set[str] = set()  # peers that may still answer the last ping in time

    def asked(self) -> None:
        """A peer has sent something to this host."""
        self._interest_until = self._ctx.platform.monotonic() + self._timing.interest

    @property
    def next_check(self) -> float:
        """When the loop must be awake for the measurement (monotonic seconds)."""
        if self._awaited:
            return 0.0  # a loop that slept would measure its own wait for the GIL
        return min(self.lag.due, self._next_ping if self._pings else float("inf"))

    def check(self, now: float, *, saves: bool = False) -> None:
        """Search for a successor if the host needs one (monotonic seconds).

        While the host `saves`, that may delay its loop, and would delay that of any other host.
        """
        # Measuring costs an idle process its sleep, and no peer would benefit.
        are_busy = self._others.are_busy(now)
        if are_busy and not saves and self._ctx.no_step_down_before <= now < self._interest_until:
            self.lag.watch(now)
        else:
            self.lag.rest()
        if now - self._pinged_at > self._timing.quick_answer:
            self._awaited.clear()
        if now < self._next_ping:
            return
        self._next_ping = now + self._timing.step_down_rhythm
        sought = self._sought(now)
        if not sought or self._pings == self._timing.step_down_pings:
            self._pings = 0
            self._quick.clear()
        if sought:
            self._ping(sought, now)

    def answered(self, peer: str, token: int) -> None:
        if token != self._token:
            return
        if peer in self._awaited:
            self._awaited.discard(peer)
            self._quick[peer] += (
                self._ctx.platform.monotonic() - self._pinged_at <= self._timing.quick_answer
            )
        if self.successor is None and (
            is_dedicated(self._state.members, peer)
            or self._quick[peer] >= self._timing.step_down_answers
        ):
            self.successor = peer

    def _ping(self, sought: list[ClientSession], now: float) -> None:
        self._pings += 1
        self._token += 1
        self._pinged_at = now
        for session in sought:
            if not is_dedicated(self._state.members, session.peer):  # it may answer late
                self._awaited.add(session.peer)
            self._fanout.answer(session, frame(Ping(self._token)))

    def _sought(self, now: float) -> list[ClientSession]:
        """The candidates for the host's role, if the host is to step down."""
        if self._ctx.options.server_only:
            return []
        able = able_to_host(self._state.members, self._fanout)
        dedicated = [each for each in able if is_dedicated(self._state.members, each.peer)]
        if dedicated:
            self.reason = "stepped down for a dedicated host"
            return dedicated  # without a pause: it never steps down itself
        if now < self._ctx.no_step_down_before:
            return []
        self.reason = "stepped down, because its process is busy"
        return able if self.lag.is_busy else []


def able_to_host(members: Members, fanout: FanOut) -> list[ClientSession]:
    """The attached members that may host and keep up."""
    return [
        session
        for peer, session in fanout.clients.items()
        if peer in members and not members[peer]["clientOnly"] and not session.is_slow
    ]


def is_dedicated(members: Members, peer: str) -> bool:
    """Whether a member only hosts (``serverOnly``)."""
    return bool(members[peer]["serverOnly"])
