"""Wakes a thread that waits in a selector."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time

from ...runtime import forks


class Waker:
    """A socket pair whose reading end becomes ready with `wake`; may be called from any thread."""

    def __init__(self) -> None:
        with forks.opening:
            self._reading, self._writing = socket.socketpair()
            forks.register(self, self._close_ends)
        self._reading.setblocking(False)
        self._writing.setblocking(False)
        self._set = False

    def fileno(self) -> int:
        """The end to put into a selector."""
        return self._reading.fileno()

    def wake(self) -> None:
        """Make the waiting thread look."""
        if self._set:
            return
        self._set = True
        # full: it is about to wake anyhow; closed: there is nobody left to be woken
        with contextlib.suppress(OSError):
            self._writing.send(b"\0")

    def clear(self) -> None:
        """Take note of the wake-ups so far; called before the thread looks."""
        with contextlib.suppress(BlockingIOError):
            self._reading.recv(4096)
        self._set = False

    def pause(self, seconds: float) -> None:
        """Wait to be woken, at most so long."""
        deadline = time.monotonic() + seconds
        with (
            selectors.PollSelector() as selector
        ):  # it needs no descriptor, of which none may be left
            selector.register(self._reading, selectors.EVENT_READ)
            selector.select(max(deadline - time.monotonic(), 0))
        self.clear()

    def close(self) -> None:
        """Close both ends."""
        forks.release(self)
        self._close_ends()

    def _close_ends(self) -> None:
        self._reading.close()
        self._writing.close()
