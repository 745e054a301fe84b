"""The wait of a peer that stands by for a writer's place (``onMaxWriters: wait``).

Such a peer is a member that follows the object. Its `start` returns when the host has let it in.
Until then its callbacks get nothing, so what they do is done by those only that have a place.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

from ..engine import Announce
from ..errors import MaxWritersError, NotStartedError
from ..replication.membership import Members, check_room, let_in, stands_by
from .wakeup import Wakeup

_CHECK = 0.05  # seconds between two checks of a peer that has found no host in time


class Standby:
    """Whether a peer has its place.

    The engine may replace two functions: `may_begin` is called when the peer has a place, and says
    whether it is certain; `began` is called when the peer no longer stands by. After it comes
    `catch_up`, which announces what others of the group have heard before.
    """

    def __init__(self, peer: str, announce: Announce) -> None:
        self.is_over = False
        self.may_begin: Callable[[], bool] = lambda: True
        self.began: Callable[[], None] = lambda: None
        self.catch_up: Callable[[], None] = lambda: None
        self._has_begun = False
        self._peer = peer
        self._announce = announce

    def announce(self, name: str, argument: Any) -> None:
        """Pass on what happens after the wait; see `engine.Announce`."""
        if self.is_over:
            self._announce(name, argument)

    def check(self, members: Members) -> None:
        """Check whether the peer has its place (the thread that changes the state)."""
        if self._has_begun:
            return
        member = members.get(self._peer)
        if member is None or stands_by(member):
            return
        if self.is_over or self.may_begin():  # an interrupt may have come in between
            self.is_over = True
            self.began()
            self.catch_up()
            self._has_begun = True

    def reason(self, members: Members) -> str:
        """Why the peer stands by, for people."""
        return str(self._error(members))

    def error(self, members: Members, seconds: float) -> MaxWritersError:
        """The error of a `start` that has waited for some seconds."""
        error = self._error(members)
        return MaxWritersError(f"no place in {seconds:g} s: {error}", **error.fields)

    def _error(self, members: Members) -> MaxWritersError:
        own = members.get(self._peer)
        try:
            if own is not None:
                check_room(members, let_in(own, 0.0))
        except MaxWritersError as error:
            return error
        return MaxWritersError("the host has not given this peer its writer's place yet")


class FirstRole:
    """What `start` waits for: the first role with a place, or the end of the attempt."""

    def __init__(self) -> None:
        self.has_stood_by = False
        self._role: str | None = None
        self._answer = Wakeup()
        self._decided: dict[str, str] = {}

    def take(self) -> bool:
        """The engine has a place for the peer; False if `start` has given up."""
        return self._decide("engine")

    def _decide(self, side: str) -> bool:
        # One call in C: whatever interrupts a thread, one side has decided, and may ask again.
        return self._decided.setdefault("by", side) == side

    def begin(self, role: str) -> None:
        """The peer has a role, for the first time or later."""
        self._role = self._role or role
        self._answer.set()

    def end(self) -> None:
        """The engine has ended."""
        self._answer.set()

    def wait(self, standby: Standby | None, members: Callable[[], Members], timeout: float) -> None:
        """Wait for the answer; raises `MaxWritersError` at a standby after `timeout` seconds.

        Others get an answer in time: the engine watches the time of the search for a host.
        """
        if standby is None:
            self._answer.wait(None)
            return
        left = timeout if isfinite(timeout) else None
        while not self._answer.wait(left):
            left = _CHECK
            if self.has_stood_by and self._decide("start"):
                raise standby.error(members(), timeout)

    def role(self, name: str) -> str:
        """The role; raises `NotStartedError` if the peer was stopped before it had one."""
        if self._role is None:
            raise NotStartedError(f"MemSync({name!r}) was stopped while start() waited")
        return self._role
