"""What one thread waits for; an exception at any instruction does no harm.

`threading.Condition` and `Event` are written in Python. An exception in the middle of their methods
(Ctrl-C, or out of a signal handler) keeps their lock, or has it released twice.
"""

from __future__ import annotations

from .native import Latch


class Wakeup:
    """Set by any thread, and waited for by one; a wait clears it.

    If only a thread of the system waits, `lock` may be one of `native`.
    """

    __slots__ = ("_lock",)

    def __init__(self, lock: Latch | None = None) -> None:
        self._lock = lock or Latch()
        self._lock.acquire()

    def set(self) -> None:
        """Let the waiting thread go on; without effect when it is set."""
        if self._lock.locked():
            try:  # noqa: SIM105  # each write comes here
                self._lock.release()
            except RuntimeError:
                pass  # another thread has set it meanwhile

    def wait(self, seconds: float | None) -> bool:
        """Wait until it is set, at most `seconds` (None: for ever); returns whether it was."""
        return self._lock.acquire(timeout=-1 if seconds is None else max(seconds, 0))
