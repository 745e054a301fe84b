"""The wait for a flush: until what is in the object by now is in its file."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import MemSyncError, StorageError
from .wakeup import Wakeup


class HostEnded(Exception):
    """The host that was asked hosts no more; the next one is to be asked."""


Outcome = MemSyncError | HostEnded | None
"""Of a flush; None: all is durable."""

Answer = Callable[[Outcome], None]
"""Called once with the outcome of a flush; must not block."""


class FlushWait:
    """One thread waits for the outcome of a flush, which another thread brings."""

    def __init__(self) -> None:
        self._done = Wakeup()
        self._error: MemSyncError | None = None
        self._is_over = False

    def end(self, error: Outcome) -> None:
        """The outcome."""
        if not isinstance(error, HostEnded):
            self._error, self._is_over = error, True
        self._done.set()

    def lose(self) -> None:
        """The host is gone: there will be no outcome."""
        self._done.set()

    def wait(self, timeout: float) -> None:
        """Raises the error, or `TimeoutError` without an outcome in time."""
        self._done.wait(timeout)
        if not self._is_over:
            raise TimeoutError
        if self._error is not None:
            raise self._error


def wait_for_flush(request: Callable[[Answer], None], timeout: float) -> None:
    """Ask by `request` for a flush, and wait for its outcome as `FlushWait.wait` does."""
    wait = FlushWait()
    request(wait.end)
    wait.wait(timeout)


SLOW = "this process saves it, which is not over: is the disk or the store slow?"
"""What prevents a flush at the host."""


def too_late(timeout: float, host: str) -> StorageError:
    """The error of a flush without an outcome in time."""
    return StorageError(f"the object was not saved within {timeout:g} s: {host}")
