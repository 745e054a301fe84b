"""The round trips from a host to its clients, for the threads that ask for them."""

from __future__ import annotations

from collections import deque
from typing import Any

from ...clocks import monotonic
from ...replication.codec import frame
from ...runtime.wakeup import Wakeup
from ..context import PeerContext
from ..transport.messages import Ping
from .fanout import ClientSession, FanOut


class RoundTrips:
    """Pings all clients when a thread wants to know."""

    def __init__(self, ctx: PeerContext, fanout: FanOut) -> None:
        self.are_wanted = False
        """Whether the host's loop must call `ask`."""
        self._ctx = ctx
        self._fanout = fanout
        self._waiting: deque[Wakeup] = deque()

    def wait(self, timeout: float) -> dict[str, Any]:
        """The round trips in seconds (any thread); None for one that did not answer in time."""
        clients_now = self._fanout.clients
        for session in list(clients_now.values()):
            session.round_trip = None
        self.are_wanted = True
        self._ctx.waker.wake()
        deadline = monotonic() + timeout
        while True:
            answer = Wakeup()
            self._waiting.append(answer)
            clients = list(clients_now.values())
            times = [{"id": each.peer, "time": each.round_trip} for each in clients]
            left = deadline - monotonic()
            if left <= 0 or not times or all(each["time"] is not None for each in times):
                return {"connection": "host", "host": {"time": 0.0}, "clients": times}
            answer.wait(min(left, self._ctx.timing.pong_check))

    def ask(self) -> None:
        """Send the pings (driver)."""
        self.are_wanted = False
        for session in self._fanout.clients.values():
            session.ping_at = self._ctx.platform.monotonic()
            self._fanout.answer(session, frame(Ping(0)))

    def answered(self, session: ClientSession) -> None:
        """A client has answered (driver)."""
        session.round_trip = self._ctx.platform.monotonic() - session.ping_at
        while self._waiting:
            self._waiting.popleft().set()
