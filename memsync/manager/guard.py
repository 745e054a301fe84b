"""The lock that is held while a copy of the object changes or is copied."""

from __future__ import annotations

import threading


class Guard:
    """A reentrant lock that a forked child can make new.

    Reentrant, because a signal handler may read in the middle of a read. Replaceable, because the
    parent's driver may hold it in the instant of the fork, and containers keep referring to it.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self._lock.release()

    def renew(self) -> None:
        """In a forked child: whoever held the lock is not here."""
        self._lock = threading.RLock()
