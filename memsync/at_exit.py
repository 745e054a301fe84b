"""The end of the process: every engine leaves its group within two seconds."""

from __future__ import annotations

import os
from multiprocessing import util
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

from .clocks import monotonic

if TYPE_CHECKING:
    from .engine import Engine

_PATIENCE = 2.0  # seconds that the end of the process waits for all engines


class Leaving(Protocol):
    """What does something before the engines leave."""

    def leave(self) -> None:
        """The process ends."""


if "engines" not in globals():  # `importlib.reload` keeps them
    engines: set[Engine] = set()
    """The engines that leave their groups when this process ends; those of a parent do not."""

    uses_to_leave: WeakSet[Leaving] = WeakSet()
    """Uses with functions that run first; these take the time that they take."""

    _registered_in = 0  # the pid of the process whose exit handler is registered


def leave_at_exit(engine: Engine) -> None:
    """Stop an engine when this process ends, also in a child of multiprocessing."""
    global _registered_in
    engines.add(engine)
    if _registered_in != os.getpid():
        util.Finalize(None, _leave_all, exitpriority=100)
        _registered_in = os.getpid()  # last, so that an interrupt cannot prevent the other


def _leave_all() -> None:
    for use in list(uses_to_leave):
        use.leave()
    deadline = monotonic() + _PATIENCE
    own = [each for each in list(engines) if each.pid == os.getpid() and not each.is_ended]
    # Hosts come last: another peer of this process would be the next host, and soon leave as well.
    for engine in sorted(own, key=lambda each: each.status().status == "host"):
        engine.stop(max(deadline - monotonic(), 0.1))
