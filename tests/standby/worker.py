"""One copy of a program of which one may work: it stands by, writes, and notes what it does."""

from __future__ import annotations

import math
import os
import signal
import time
from types import FrameType
from typing import Any

from memsync import MemSync

NAME = "mutex"
OPTIONS = {"network": {"maxWriters": 1, "lease": 1.0}, "onMaxWriters": "wait"}


class _End(BaseException):
    """The process shall stop as planned."""


def work(notes: str, folder: str) -> None:
    """Stand by for the place, then write until the end.

    Notes are lines ``WORD PID MONOTONIC_NS [MORE]``, appended by one system call each; what was
    appended survives SIGKILL. All processes of a machine have the same monotonic clock.
    """
    os.environ["MEMSYNC_DIR"] = folder
    file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)

    def note(word: str, more: object = "") -> None:
        os.write(file, f"{word} {os.getpid()} {time.monotonic_ns()} {more}\n".encode())

    def end(number: int, frame: FrameType | None) -> None:
        raise _End

    signal.signal(signal.SIGTERM, end)
    mem: MemSync[Any] = MemSync(NAME, {"n": 0}, OPTIONS)
    try:
        note("waits")
        role = mem.start(timeout=math.inf)
        note("begins", role)
        while True:
            mem.patch({"$inc": {"n": 1}}, timeout=60)
            note("wrote", mem.data["n"])
            time.sleep(0.001)
    except _End:
        note("ends")
        mem.stop()
