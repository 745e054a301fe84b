"""What must not survive a fork: sockets, locks and selectors of the parent.

A forked child inherits every descriptor. Kept open, they would hide the parent's death: peers would
see no end-of-file, its locks would stay held, its port in use. So each descriptor is opened and
registered in one step (`opening`), with which no fork can interfere, and the child closes them all
before it runs anything else. Closing neither shuts a socket down nor unlocks a file of the
parent's.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from weakref import WeakSet

opening = threading.Lock()
"""Held from the opening of a descriptor until it is registered, and while the process forks."""

_closers: dict[int, Callable[[], None]] = {}
_handles: WeakSet[Forkable] = WeakSet()


class Forkable:
    """Something that is told, in the child, that it was forked."""

    def after_fork(self) -> None:
        """Drop everything that belongs to the parent; must neither block nor do I/O."""
        raise NotImplementedError


def register(key: object, close: Callable[[], None]) -> None:
    """Have `close` called in a forked child; `opening` is held by the caller."""
    _closers[id(key)] = close


def release(key: object) -> None:
    """The owner closes it itself, right after this call."""
    _closers.pop(id(key), None)


def watch(handle: Forkable) -> None:
    """Have ``after_fork`` called in a forked child as long as the handle lives."""
    _handles.add(handle)


def watched() -> list[Forkable]:
    """The handles that live and are told of forks."""
    return list(_handles)


def _before() -> None:
    opening.acquire()


def _in_parent() -> None:
    opening.release()


def _in_child() -> None:
    opening.release()
    closers = list(_closers.values())
    _closers.clear()
    for close in closers:
        with contextlib.suppress(OSError):  # closed by its owner in the instant of the fork
            close()
    for handle in watched():
        handle.after_fork()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
