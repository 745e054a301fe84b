"""How far this peer's copy of the object is, and what waits until it is further.

A call and each of its answers carry the pair ``(epoch, version)`` that their sender has seen. The
method runs once its peer has seen as much, and the caller gets the answer once it has.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..engine import Engine

Pair = tuple[int, int]


class Versions(Protocol):
    """Of one peer; any thread may call any method."""

    def pair(self) -> Pair:
        """What `MemSync.data` shows."""

    def pair_of_process(self) -> Pair:
        """What all peers of this process together show of the object, as a method may use any."""

    def wait(self, pair: Pair, seconds: float) -> bool:
        """Wait at most this long until the peer has a pair; with 0 seconds it does not block.

        Returns whether the peer has the pair.
        """

    def call_at(self, pair: Pair, action: Callable[[], None]) -> None:
        """Call `action`, perhaps twice, once the peer has a pair or has stopped.

        `action` runs on this thread or on the one that plays the peer's role; it must not block.
        """

    def has_stopped(self) -> bool:
        """Whether the copy gets no further."""


class NoVersions:
    """Of calls without an object, as in tests."""

    def pair(self) -> Pair:
        return 0, 0

    pair_of_process = pair

    def wait(self, pair: Pair, seconds: float) -> bool:
        return True

    def call_at(self, pair: Pair, action: Callable[[], None]) -> None:
        action()

    def has_stopped(self) -> bool:
        return False


class SeenVersions:
    """Of the peer of an engine; `engines` are those of the process, of all objects."""

    def __init__(self, engine: Engine, engines: Collection[Engine]) -> None:
        self._engine = engine
        self._engines = engines
        self._replica = engine.participant.replica
        self._waiters = engine.participant.entry_waiters

    def pair(self) -> Pair:
        pair: Pair = self._replica.view_pair
        return pair

    def pair_of_process(self) -> Pair:
        pair = self.pair()
        if len(self._engines) > 1:
            for engine in list(self._engines):
                if engine is not self._engine and self._is_of_the_object(engine):
                    pair = max(pair, engine.participant.replica.view_pair)
        return pair

    def _is_of_the_object(self, other: Engine) -> bool:
        own = self._engine
        if other.where != own.where or other.participant.name != own.participant.name:
            return False
        return not other.is_ended and other.pid == own.pid

    def wait(self, pair: Pair, seconds: float) -> bool:
        replica = self._replica
        if replica.view_pair >= pair:
            return True
        return seconds > 0 and self._waiters.wait_until(lambda: replica.view_pair >= pair, seconds)

    def call_at(self, pair: Pair, action: Callable[[], None]) -> None:
        replica = self._replica
        self._waiters.call_when(lambda: replica.view_pair >= pair, action)

    def has_stopped(self) -> bool:
        ended: bool = self._waiters.ended
        return ended
