"""Waiting until the object changes: what `wait_for` and `changes` stand on.

Whoever changes what the peer shows says so under the guard, with the operations; a *watch* that has
to do with one of them becomes due, and threads that wait are woken. While nobody waits this costs
one look at an empty list.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterable
from typing import Any

from ..document import Operation, ReadWriteSet, read_write_set


class Watch:
    """Places (RFC 6901 pointers) that somebody looks at; `due` when one may have changed."""

    __slots__ = ("__weakref__", "closed", "due", "places")

    def __init__(self, pointers: Iterable[str]) -> None:
        self.places = ReadWriteSet()
        self.places.add(pointers)
        self.due = False
        self.closed = False


class Watches:
    """The watches of one peer; all of it happens under the guard.

    Watches are held weakly: one that was dropped without being closed takes no lock to go away.
    """

    def __init__(self, guard: Any) -> None:
        self._guard = guard
        self._changed = threading.Condition(guard)
        self._watches: list[weakref.ref[Watch]] = []
        self.ended = False

    def add(self, pointers: Iterable[str]) -> Watch:
        """Watch over places from now on."""
        watch = Watch(pointers)
        with self._guard:
            self._watches = [*self._living(), weakref.ref(watch)]
        return watch

    def close(self, watch: Watch) -> None:
        """Nobody looks at it any more, who waits for it is woken; may be called twice."""
        with self._guard:
            watch.closed = True
            self._watches = [each for each in self._living() if each() is not watch]
            self._changed.notify_all()

    def changed(self, operations: list[Operation] | None) -> None:
        """These operations have changed the object, or None: anything may have."""
        if not self._watches:
            return
        touched = None if operations is None else list(read_write_set(operations))
        woken = False
        for each in self._watches:
            watch = each()
            if watch is None or watch.due:
                continue
            if touched is None or watch.places.overlaps(touched):
                watch.due = woken = True
        if woken:
            self._changed.notify_all()

    def wait(self, watch: Watch, deadline: float | None) -> bool:
        """Wait until a watch is due, which it is not any more then; the guard is held.

        False when the time is over (monotonic seconds; None: never), when the peer has ended or the
        watch was closed.
        """
        while not watch.due:
            if self.ended or watch.closed:
                return False
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            self._changed.wait(left)
        watch.due = False
        return True

    def end(self) -> None:
        """The peer has stopped: nobody waits any longer."""
        with self._guard:
            self.ended = True
            self._changed.notify_all()

    def _living(self) -> list[weakref.ref[Watch]]:
        return [each for each in self._watches if each() is not None]
