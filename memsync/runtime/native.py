"""Threads and locks of the system, also where gevent or eventlet has replaced them.

A patched process runs greenlets on one thread, its hub, which must never block. memsync's own
threads cannot be greenlets: they block in system calls. So they are real threads with real locks
and sockets (`manager/platform/sockets.py`). Only the waits of a program (`Condition`, `Event`,
`Latch`, `Mutex`, the end of a `Thread`) know greenlets: they let the hub run others meanwhile
(`green`).

Without such a library these names are those of the standard library.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ..errors import UsageError

__all__ = [
    "LIBRARY",
    "Condition",
    "Event",
    "Latch",
    "Lock",
    "Mutex",
    "RLock",
    "Thread",
    "get_ident",
    "is_real_thread",
]

_PATCHES = ("threading", "socket", "select")


def patching_library() -> str:
    """The library that has patched this process by now, or an empty string."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and any(map(monkey.is_module_patched, _PATCHES)):
        return "gevent"
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is not None and any(map(patcher.is_monkey_patched, ("thread", *_PATCHES[1:]))):
        return "eventlet"
    return ""


if "LIBRARY" not in globals():  # the modules hold its primitives, also after a reload
    LIBRARY = patching_library()
    """The library that had patched this process when memsync was imported."""

if TYPE_CHECKING or not LIBRARY:
    from threading import Condition, Event, Lock, RLock, Thread, get_ident

    def is_real_thread() -> bool:
        """Whether the caller is a real thread of memsync in a patched process."""
        return False

    Latch = Lock  # one thread waits until another one opens it
    Mutex = RLock  # a reentrant lock, which may be held during a wait

else:
    from .green import (
        Condition,
        Event,
        Latch,
        Lock,
        Mutex,
        RLock,
        Thread,
        get_ident,
        is_real_thread,
    )


def check_patches() -> None:
    """Raise `UsageError` if a library has patched this process after memsync was imported."""
    now = patching_library()
    if now in ("", LIBRARY):
        return
    call = "gevent.monkey.patch_all()" if now == "gevent" else "eventlet.monkey_patch()"
    raise UsageError(
        f"{now} has patched this process after memsync was imported, so memsync would "
        f"block every greenlet: call {call} before anything imports memsync (docs/servers.md)"
    )
