"""Threads that wait until this peer has some entry, whether or not it changes the view.

An example is a call of another peer, which runs once this peer has seen what the caller had seen.
Without waiters an entry costs one test of an empty list.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from ..clocks import monotonic
from .wakeup import Wakeup


class Waiter(Protocol):
    """What `EntryWaiters` wakes; must not block."""

    def set(self) -> None:
        """Entries were applied and published, or the peer has stopped."""


class EntryWaiters:
    """The waiting threads of one peer."""

    def __init__(self) -> None:
        self.waiting: list[Waiter] = []  # changed by single steps in C
        self.ended = False

    def wait_until(self, check: Callable[[], object], seconds: float) -> bool:
        """Wait until ``check()``, which may not block, is true; tested after each batch of entries.

        Returns False after `seconds`, and when the peer has stopped. A thread that plays the peer's
        role must not wait.
        """
        if check():
            return True
        deadline = monotonic() + seconds
        wakeup = Wakeup()
        self.waiting.append(wakeup)
        try:
            while not check():
                left = deadline - monotonic()
                if left <= 0 or self.ended:
                    return False
                wakeup.wait(left)
            return True
        finally:
            self.waiting.remove(wakeup)

    def call_when(self, check: Callable[[], object], action: Callable[[], None]) -> None:
        """Call `action` once ``check()`` is true or the peer has stopped, perhaps twice.

        Both must not block. They run on this thread, and on the one that plays the peer's role.
        """
        waiter = _Action(self, check, action)
        self.waiting.append(waiter)
        waiter.set()

    def advanced(self) -> None:
        """Have all threads test again: entries were applied and published."""
        for wakeup in list(self.waiting):
            wakeup.set()

    def end(self) -> None:
        """End all waiting: the peer has stopped."""
        self.ended = True
        self.advanced()

    def after_fork(self) -> None:
        """In a forked child: the waiting threads are the parent's."""
        self.waiting = []
        self.ended = True


class _Action:
    """In the place of a `Wakeup`: no thread waits."""

    def __init__(
        self, waiters: EntryWaiters, check: Callable[[], object], action: Callable[[], None]
    ) -> None:
        self._waiters = waiters
        self._check = check
        self._action = action

    def set(self) -> None:
        """Act if it is time."""
        if self._check() or self._waiters.ended:
            self._action()
            with suppress(ValueError):  # another thread has done it meanwhile
                self._waiters.waiting.remove(self)
