"""Wakes a thread that waits in a selector."""

from __future__ import annotations

import os
import select
import sys
from io import FileIO

from ...runtime import forks
from .sockets import poll

# An eventfd adds it to its counter, which a read sets back. A pipe takes any bytes.
_ONE = (1).to_bytes(8, sys.byteorder)


def _open_ends() -> tuple[FileIO, FileIO]:
    """The reading and the writing end, which are one where the system has eventfd."""
    if sys.platform == "linux":
        both = FileIO(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK), "r+")
        return both, both
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    return FileIO(reading, "r"), FileIO(writing, "w")


class Waker:
    """A descriptor that becomes readable with `wake`; may be called from any thread."""

    def __init__(self) -> None:
        with forks.opening:
            self._reading, self._writing = _open_ends()
            forks.register(self, self._close_ends)
        self._set = False

    def fileno(self) -> int:
        """The end that a selector waits for."""
        return self._reading.fileno()

    def wake(self) -> None:
        """End the wait of the thread that waits, or else its next wait."""
        if self._set:
            return
        try:
            self._set = True
            self._writing.write(_ONE)
        except (OSError, ValueError):
            pass  # what is full wakes the thread anyway, and what is closed has none left to wake
        except BaseException:  # for example KeyboardInterrupt; nothing may have been sent
            self._set = False
            raise

    def clear(self) -> None:
        """Forget the wake-ups so far; called before the thread checks why it was woken."""
        self._reading.read(4096)  # nothing where nothing was written
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
