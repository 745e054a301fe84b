"""What a large object costs the garbage collector, and how it is spared that.

A full collection visits every container in the process: 20 to 100 ms at 1,000,000 keys, in which a
write waits. The containers of the object are in no cycle and are freed without the collector. So
once the object is large, all that lives is *frozen* (``gc.freeze``): the collector does not visit
it any more. That happens seldom: when the object is large, and when it has doubled.

What the program has in cycles by then is frozen, too, and may become garbage. So one full
collection in `THAWED_EVERY` seconds visits everything. When the peer stops, all is thawed, because
a handle that is dropped is itself in cycles. A program that freezes its objects itself keeps them
frozen.
"""

from __future__ import annotations

import gc
from typing import Any

from ..clocks import monotonic
from ..document import containers_in

LARGE = 10_000  # items of the object; a full collection visits them in less than a millisecond
THAWED_EVERY = 600.0  # seconds

_FULL = 2  # the oldest generation
_INTERPRETERS = 2000  # Python 3.12 freezes 375 objects of its own; a program with no import, 4,000


class _Collector:
    """The collector of this process, and for how many peers it is frozen."""

    def __init__(self) -> None:
        self._peers = 0
        self._frozen = _INTERPRETERS  # objects, after the last freezing
        self._is_programs = False  # the program has frozen objects as well
        self._is_thawed = False  # for the collection that is under way
        self._visited_all_at = 0.0  # monotonic seconds

    def freeze(self, *, is_first: bool) -> None:
        """Freeze what lives; `is_first` for a peer that has not frozen it before."""
        if not self._peers:
            self._is_programs = False
            self._visited_all_at = monotonic()
            gc.callbacks.append(self._on_collection)
        self._look_for_programs()
        self._peers += is_first
        if gc.isenabled():  # else no finalizer of the program may run on this thread
            gc.collect(1)  # what died young is not kept
        self._freeze()

    def thaw(self) -> None:
        """A peer that has frozen something has stopped.

        Other large objects of this process are frozen again when they have doubled.
        """
        self._peers -= 1
        self._look_for_programs()
        if not self._is_programs:
            self._thaw()
        if not self._peers and self._on_collection in gc.callbacks:  # a program may clear them
            gc.callbacks.remove(self._on_collection)

    def _freeze(self) -> None:
        gc.freeze()
        self._frozen = gc.get_freeze_count()

    def _thaw(self) -> None:
        gc.unfreeze()
        self._frozen = _INTERPRETERS

    def _look_for_programs(self) -> None:
        """Note whether the program has frozen objects since the last look: that keeps them frozen.

        Without it the number only falls, because frozen objects die.
        """
        if gc.get_freeze_count() > self._frozen:
            self._is_programs = True

    def _on_collection(self, phase: str, facts: dict[str, int]) -> None:
        if facts["generation"] != _FULL or self._is_programs:
            return
        now = monotonic()
        if phase == "start" and now - self._visited_all_at >= THAWED_EVERY:
            self._look_for_programs()
            if not self._is_programs:
                self._is_thawed = True
                self._thaw()
        elif phase == "stop" and self._is_thawed:
            self._is_thawed = False
            self._visited_all_at = now
            self._freeze()


_collector = _Collector()


class Freezer:
    """Freezes the process's containers when one object has become large."""

    def __init__(self) -> None:
        self._limit = LARGE
        self._has_frozen = False

    def look(self, view: dict[str, Any]) -> None:
        """Look at the root only: it may have grown. Costs nothing otherwise."""
        if len(view) > self._limit:
            self.look_inside(view)

    def look_inside(self, view: dict[str, Any]) -> None:
        """Look at the root and the containers in it."""
        size = len(view) + sum(map(len, containers_in(view).values()))
        if size > self._limit:
            self._limit = 2 * size
            had_frozen, self._has_frozen = self._has_frozen, True
            _collector.freeze(is_first=not had_frozen)

    def thaw(self) -> None:
        """The peer has stopped: let the collector have the object, and what else is frozen."""
        if self._has_frozen:
            self._has_frozen = False
            _collector.thaw()
