"""Observers whose calls cause the next ones: they write what they observe, or each other's values.

Most such chains end by themselves, because a value that is equal to the last one makes no call.
One that does not end would take a processor for itself. So after many calls in a row, each of which
nothing but calls of observers has caused, the log has a warning, and the next calls take their
time.
"""

from __future__ import annotations

from ..clocks import monotonic
from .logs import Logger

ROUNDS_MAX = 1000  # calls in a row
PAUSE = 0.1  # seconds between later ones

log = Logger("memsync.dispatcher")


class Feedback:
    """Of one observer: the length of the chain that leads to its present call."""

    __slots__ = ("_has_warned", "_is_news", "_next", "_rounds", "until")

    def __init__(self) -> None:
        self._rounds = self._next = 0
        self._is_news = False  # what is not caused by an observer has changed the value as well
        self._has_warned = False
        self.until = 0.0
        """Until then (monotonic seconds) the next call waits."""

    def touched(self, cause: Feedback | None) -> None:
        """The value was written: by the present call of another or the same observer, or not."""
        if cause is None:
            self._is_news = True
        else:
            self._next = max(self._next, cause._rounds + 1)

    def begin(self, observed: object, callback: object) -> None:
        """The observer looks at the value, and perhaps calls."""
        self._rounds = 0 if self._is_news else self._next
        self._next, self._is_news = 0, False
        if self._rounds < ROUNDS_MAX:
            return
        self.until = monotonic() + PAUSE
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "an observer keeps itself going: what it runs has written what it observes, and "
                "nobody else has, %s times in a row; from now on it runs every %g s: observed=%r "
                "callback=%r",
                ROUNDS_MAX,
                PAUSE,
                observed,
                callback,
            )
