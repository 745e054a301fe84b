"""Threads that wait until this peer has some entry, whether or not it changes the view.

An example is a call of another peer, which runs once this peer has seen what the caller had seen.
Without waiters an entry costs one test of an empty list.
"""

from __future__ import annotations

from collections.abc import Callable

from ..clocks import monotonic
from .wakeup import Wakeup


class EntryWaiters:
    """The waiting threads of one peer."""

    def __init__(self) -> None:
        self.waiting: list[Wakeup] = []  # changed by single steps in C
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
