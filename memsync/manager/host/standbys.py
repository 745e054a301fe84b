"""Who gets a writer's place that has become free: the members that stand by, as they joined.

A member that is frozen would keep the place for nothing, so the host first asks those for whom
there is room whether they are awake. It lets in the first one, unless that one does not answer in
time: then the first of those that have answered.
"""

from __future__ import annotations

from ...errors import MaxWritersError
from ...replication.codec import frame
from ...replication.kinds.member import MemberKind, joining
from ...replication.membership import let_in, stands_by
from ...runtime.logs import Logger
from ..context import PeerContext
from ..transport.messages import Ping
from .fanout import FanOut
from .liveness import MemberLiveness
from .ordering import Ordering

log = Logger("memsync.host")


class Standbys:
    """The queue of those that stand by (driver only); its order is that of the members."""

    def __init__(
        self, ctx: PeerContext, fanout: FanOut, ordering: Ordering, liveness: MemberLiveness
    ) -> None:
        self.next_check = 0.0
        """Monotonic seconds; a change of the members needs no check in time."""
        self._ctx = ctx
        self._state = ctx.participant.state
        self._fanout = fanout
        self._ordering = ordering
        self._liveness = liveness
        self._notices = -1  # of the state, at the last check
        self._asked_at: float | None = None  # monotonic seconds; None: nobody is asked
        self._token = 0  # of the last question; below zero, the others are those of `StepDown`
        self._asked: set[str] = set()
        self._awake: set[str] = set()

    def check(self, now: float) -> None:
        """Let somebody in if there is room (monotonic seconds)."""
        if now < self.next_check and self._notices == self._state.notices:
            return
        self._notices = self._state.notices
        self.next_check = float("inf")
        waiting = [peer for peer, each in self._state.members.items() if stands_by(each)]
        if not waiting:
            return
        fitting = [peer for peer in waiting if self._has_room(peer)]
        if self._notices != self._state.notices:  # the dead have left, so look again
            self.next_check = now
        elif fitting:
            self._choose(fitting, now)
        else:
            self._asked_at = None
            if self._liveness.has_unreported:  # nobody reports that one of them has died
                self.next_check = now + self._ctx.timing.unreported_check

    def answered(self, peer: str, token: int) -> None:
        """A peer has answered a question of `check`."""
        if token == self._token:
            self._awake.add(peer)
            self.next_check = 0.0

    def _has_room(self, peer: str) -> bool:
        member = self._state.members.get(peer)
        if member is None:  # it was found dead meanwhile
            return False
        try:
            self._liveness.make_room(let_in(member, 0.0))
        except MaxWritersError:
            return False
        return True

    def _choose(self, fitting: list[str], now: float) -> None:
        if self._asked_at is None:
            self._asked_at = now
            self._token -= 1
            self._asked.clear()
            self._awake.clear()
        patience = self._asked_at + self._ctx.timing.standby_answer
        for peer in fitting:
            if peer == self._ctx.id or peer in self._awake:
                self._let_in(peer)
                self.next_check = now  # there may be more room
                return
            if now < patience:
                self._ask(fitting)
                self.next_check = patience
                return
        self._asked_at = None  # nobody is awake: ask again
        self.next_check = now

    def _ask(self, fitting: list[str]) -> None:
        for peer in fitting:
            session = self._fanout.clients.get(peer)
            if session is not None and peer not in self._asked:
                self._asked.add(peer)
                self._fanout.answer(session, frame(Ping(self._token)))
                self._fanout.flush_soon(session)

    def _let_in(self, peer: str) -> None:
        self._asked_at = None
        since = self._ctx.platform.wall_ms() / 1000
        member = let_in(self._state.members[peer], since)
        log.info("let in name=%s peer=%s pid=%s", self._ctx.participant.name, peer, member["pid"])
        self._ordering.append(MemberKind.name, joining(member))
        session = self._fanout.clients.get(peer)
        if session is not None:
            self._fanout.flush_soon(session)
        self._ctx.waker.wake()  # the next round shows and sends it
