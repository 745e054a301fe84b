"""One request of this peer for a named lock, from the wish to the end of the hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from ..replication.lock_part import Acquire
from .dispatcher import Dispatcher
from .view_waiters import User
from .wakeup import Wakeup

if TYPE_CHECKING:
    from .participant import Participant


class Lost:
    """Whether a hold is lost; for a program it is a `threading.Event` that only memsync sets."""

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: list[Wakeup] = []  # changed by single steps in C

    def is_set(self) -> bool:
        """Whether the lock is lost."""
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the lock is lost, at most `timeout` seconds; returns whether it is."""
        wakeup = Wakeup()
        self._waiting.append(wakeup)
        try:
            if not self._is_set:
                wakeup.wait(timeout)
        finally:
            self._waiting.remove(wakeup)
        return self._is_set

    def _set(self) -> None:
        self._is_set = True
        for wakeup in list(self._waiting):
            wakeup.set()


class LockRequest:
    """One request for a place; `token` is set while and after it is held.

    A grant counts once the thread that waits has taken it. Until then it may go without a loss.
    """

    __slots__ = (
        "dispatcher",
        "has_ended",
        "is_dropped",
        "is_taken",
        "is_there",
        "is_unclaimed",
        "lost",
        "number",
        "on_lost",
        "participant",
        "token",
        "user",
        "wakeup",
        "was_seen",
        "wish",
    )

    def __init__(
        self,
        participant: Participant,
        wish: Acquire,
        user: User | None,
        dispatcher: Dispatcher,
        on_lost: Callable[[], object] | None,
    ) -> None:
        self.participant = participant
        self.wish = wish
        self.number = wish.request
        self.user = user
        self.dispatcher = dispatcher
        self.on_lost = on_lost
        self.token: int | None = None
        self.lost = Lost()
        self.wakeup = Wakeup()
        self.is_taken = False  # `acquire` has seen the grant
        self.is_there = True  # the state may have it, now or later
        self.was_seen = False  # in the state
        self.is_dropped = False  # it waited, and the state no longer has it
        self.has_ended = False  # released or given up, or its peer has stopped
        self.is_unclaimed = [True]  # empty once a thread releases it

    def renew(self, number: int) -> None:
        """Begin again, under another number."""
        self.wish = msgspec.structs.replace(self.wish, request=number)
        self.number = number
        self.token = None
        self.is_there = True
        self.was_seen = self.is_dropped = self.has_ended = False

    @property
    def is_held(self) -> bool:
        """Whether this process holds the place, as far as it knows."""
        is_here = not (self.has_ended or self.participant.is_of_parent)
        return self.token is not None and is_here and not self.lost.is_set()
