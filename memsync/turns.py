"""The starts of a peer that wait while the start of another thread stands by.

The start that stands by holds the peer's lock for as long as it waits, which may be for ever. The
others wait here instead of for the lock, each for its own time.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING

from .clocks import monotonic
from .errors import NotStartedError
from .runtime.wakeup import Wakeup

if TYPE_CHECKING:
    from .engine import Engine
    from .runtime.dispatcher import Dispatcher

_LEAST = 1.0  # seconds of a start whose turn comes, so that it can name the holders


class Turns:
    """The waits for the end of a start that stands by."""

    def __init__(self) -> None:
        self._waiting: dict[Wakeup, Dispatcher] = {}

    def wait(
        self, joining: Callable[[], Engine | None], dispatcher: Dispatcher, seconds: float
    ) -> float:
        """Wait while an engine stands by; returns the seconds that are left of the start.

        Raises `MaxWritersError` after `seconds`, and `NotStartedError` if the handle was stopped.
        """
        if not stands_by(joining()):
            return seconds
        deadline = monotonic() + seconds
        wakeup = Wakeup()
        self._waiting[wakeup] = dispatcher
        try:
            while (engine := joining()) is not None and stands_by(engine):
                left = deadline - monotonic()
                if left <= 0:
                    participant = engine.participant
                    raise participant.standby.error(participant.members(), seconds)
                wakeup.wait(left if isfinite(left) else None)
                if wakeup not in self._waiting:
                    raise NotStartedError("this handle was stopped while start() waited")
        finally:
            self._waiting.pop(wakeup, None)
        return max(deadline - monotonic(), min(seconds, _LEAST))

    def go_on(self) -> None:
        """No start stands by any more."""
        for wakeup in list(self._waiting):
            wakeup.set()

    def end(self, dispatcher: Dispatcher) -> None:
        """The handle with this dispatcher is stopped."""
        for wakeup, waiting in list(self._waiting.items()):
            if waiting is dispatcher and self._waiting.pop(wakeup, None) is not None:
                wakeup.set()


def stands_by(engine: Engine | None) -> bool:
    """Whether an engine is in a start that waits for a writer's place."""
    return engine is not None and engine.participant.stands_by() is not None
