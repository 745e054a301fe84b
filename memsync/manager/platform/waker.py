"""Wakes a thread that waits in a selector."""

from __future__ import annotations

import contextlib
import select

from ...runtime import forks
from .sockets import poll, socketpair


class Waker:
    """A socket pair whose reading end becomes ready with `wake`; may be called from any thread."""

    def __init__(self) -> None:
        with forks.opening:
            self._reading, self._writing = socketpair()
            forks.register(self, self._close_ends)
        self._reading.setblocking(False)
        self._writing.setblocking(False)
        self._set = False

    def fileno(self) -> int:
        """The end that a selector waits for."""
        return self._reading.fileno()

    def wake(self) -> None:
        """End the wait of the thread that waits, or else its next wait."""
        if self._set:
            return
        self._set = True
        # A full buffer wakes the thread anyway. A closed socket has no thread left to wake.
        with contextlib.suppress(OSError):
            self._writing.send(b"\0")

    def clear(self) -> None:
        """Forget the wake-ups so far; called before the thread checks why it was woken."""
        with contextlib.suppress(BlockingIOError):
            self._reading.recv(4096)
        self._set = False

    def pause(self, seconds: float) -> None:
        """Wait to be woken, at most `seconds`."""
        waiting = poll()  # needs no descriptor, and the process may have none left
        waiting.register(self._reading, select.POLLIN)
        waiting.poll(max(seconds, 0) * 1000)
        self.clear()

    def close(self) -> None:
        forks.release(self)
        self._close_ends()

    def _close_ends(self) -> None:
        self._reading.close()
        self._writing.close()
