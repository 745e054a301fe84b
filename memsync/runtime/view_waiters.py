"""Threads that wait until the view changes, for `wait_for` and `changes`.

The replica reports each change of the view under the guard, with its operations. Waiters whose
places overlap the operations become due, and their threads are woken. Without waiters a change
costs one test of an empty list.

Open drafts note a change at once. Waiters and listeners, the observers of all handles, are called
at the end of the batch, and at once for a new write of this peer.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

from ..clocks import monotonic
from ..document import Operation, ReadWriteSet, read_write_set
from ..replication.view_listener import ViewListener
from .moved_watch import MovedWatch
from .wakeup import Wakeup

Listener = Callable[[list[Operation] | None, bool], None]


class User(Protocol):
    """One of the handles that use a peer."""

    has_stopped: bool


T = TypeVar("T")


class ViewWaiter:
    """The places (RFC 6901 pointers) that a thread waits for; `due` when one may have changed."""

    __slots__ = ("__weakref__", "closed", "due", "places", "user", "wakeup")

    def __init__(self, pointers: Iterable[str], user: User | None) -> None:
        self.places = ReadWriteSet()
        self.places.add(pointers)
        self.due = False
        self.closed = False
        self.user = user
        self.wakeup = Wakeup()

    def noted(self, operations: list[Operation] | None, own: bool) -> None:
        """Called for what makes it due, with the arguments of `ViewWaiters.changed`."""


class ViewWaiters(ViewListener):
    """The waiters of one peer, under its guard.

    They are held weakly: a waiter that is dropped without `close` needs no lock in a finalizer.
    """

    def __init__(self, guard: Any) -> None:
        self._guard = guard
        self._waiters: list[weakref.ref[ViewWaiter]] = []
        self._watches: list[weakref.ref[MovedWatch]] = []
        self._listeners: tuple[Listener, ...] = ()
        self.batch: list[Operation] = []
        self.ended = False

    def add(self, pointers: Iterable[str], user: User | None = None) -> ViewWaiter:
        """A waiter for places; changes before this call do not make it due."""
        waiter = ViewWaiter(pointers, user)
        with self._guard:
            self.include(waiter)
        return waiter

    def include(self, waiter: ViewWaiter) -> None:
        """Add a waiter; the guard is held."""
        self._waiters = [*_living(self._waiters), weakref.ref(waiter)]

    def watch(self, view: Any) -> MovedWatch:
        """A watch of the elements that move from now on; it ends with its last reference."""
        watch = MovedWatch(view)
        with self._guard:
            self._watches = [*_living(self._watches), weakref.ref(watch)]
        return watch

    def close(self, waiter: ViewWaiter) -> None:
        """End a waiter and wake its thread; may be called twice."""
        with self._guard:
            waiter.closed = True
            self._waiters = _living(self._waiters, but=waiter)
            waiter.wakeup.set()

    def listen(self, listener: Listener) -> None:
        """Call a function as waiters are woken; the guard is held."""
        if listener not in self._listeners:
            self._listeners += (listener,)

    def unlisten(self, listener: Listener) -> None:
        """Undo `listen`; the guard is held."""
        self._listeners = tuple(each for each in self._listeners if each != listener)

    def changed(self, operations: list[Operation] | None, own: bool) -> None:
        """Note a change of the view; see `ViewListener`. The guard is held."""
        if self._watches:
            for reference in self._watches:
                watch = reference()
                if watch is not None:
                    watch.add(operations)
        if not self._waiters and not self._listeners:
            return
        if operations is None:
            self._report(None, False)
            self.batch = []
        elif own:
            self._report(operations, True)
        else:
            self.batch += operations

    def end_batch(self) -> None:
        """Report the batch; the guard is held."""
        self._report(self.batch, False)
        self.batch = []  # not before: after an interrupt it is reported again

    def _report(self, operations: list[Operation] | None, own: bool) -> None:
        """Call the listeners, and wake the waiters that a change concerns."""
        for listener in self._listeners:
            listener(operations, own)
        if not self._waiters:
            return
        touched = None if operations is None else list(read_write_set(operations))
        for each in self._waiters:
            waiter = each()
            if waiter is None:
                continue
            if touched is None or waiter.places.overlaps(touched):
                waiter.noted(operations, own)
                waiter.due = True
            if waiter.due:
                waiter.wakeup.set()  # also if it was due: an interrupt may have prevented that

    def wait(self, waiter: ViewWaiter, deadline: float | None) -> bool:
        """Wait until a waiter is due, and reset it; the guard is not held.

        Returns False at the deadline (monotonic seconds; None: never), when the peer or its user
        has stopped, and when the waiter was closed.
        """
        while not waiter.due:
            if waiter.closed or self.has_ended(waiter):
                return False
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                return False
            waiter.wakeup.wait(left)
        waiter.due = False
        return True

    def has_ended(self, waiter: ViewWaiter) -> bool:
        """Whether the peer, or the user that waits, has stopped."""
        return self.ended or (waiter.user is not None and waiter.user.has_stopped)

    def end(self) -> None:
        """Wake all threads: the peer has stopped."""
        self.ended = True
        self.wake_all()

    def wake_all(self) -> None:
        """Have all threads look whether their waits have ended."""
        with self._guard:
            for each in self._waiters:
                waiter = each()
                if waiter is not None:
                    waiter.wakeup.set()

    def after_fork(self) -> None:
        """In a forked child: the waiting threads are the parent's, and no draft is up to date."""
        self.ended = True
        self._waiters, self._listeners, self.batch = [], (), []
        for reference in self._watches:
            watch = reference()
            if watch is not None:
                watch.add(None)


def _living(references: list[weakref.ref[T]], but: T | None = None) -> list[weakref.ref[T]]:
    """The references to what still lives, all but one.

    A function of its own: with the comprehension in its ``with`` block, an exception in the loop
    leaves the guard locked on CPython 3.12 (no entry of the exception table covers its jump).
    """
    return [each for each in references if (it := each()) is not None and it is not but]
