"""What must not survive a fork: the parent's sockets, locks and selectors.

A forked child inherits every descriptor. An inherited copy would hide the death of the parent: its
peers would see no end of file, its locks would stay held, its port would stay in use. So each
descriptor is opened and registered under one lock (`opening`), which a fork takes as well, and the
child closes all of them before it runs anything else. Closing a copy neither shuts down the
parent's socket nor unlocks its file.

`importlib.reload` runs a module again in its old namespace. What is locked and registered here, and
the hooks themselves, must then stay: two hooks that take one lock would hang each fork.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from weakref import WeakSet

from .native import Lock, RLock

_IS_RELOADED = "opening" in globals()

if not _IS_RELOADED:
    opening = Lock()
    """Held while a descriptor is opened and registered, and while the process forks."""

    importing = RLock()
    """Held while a thread imports a module at its first need, and while the process forks.

    A child of a fork in the middle of an import would have half of the module, or wait for ever for
    the thread that imports it. An import may fork itself, so the lock is reentrant. Not for
    `concurrent.futures.thread`: of the hooks that it registers, a fork that has waited calls only
    those for its end.
    """

    _closers: dict[int, Callable[[], None]] = {}
    _handles: WeakSet[Forkable] = WeakSet()


class Forkable:
    """An object that is called in a forked child; see `track`."""

    def after_fork(self) -> None:
        """Drop everything that belongs to the parent; must neither block nor do I/O."""
        raise NotImplementedError


def register(key: object, close: Callable[[], None]) -> None:
    """Have a forked child call `close`; the caller holds `opening`."""
    _closers[id(key)] = close


def release(key: object) -> None:
    """Undo `register`; the owner closes the descriptor right after this call."""
    _closers.pop(id(key), None)


def track(handle: Forkable) -> None:
    """Have a forked child call ``handle.after_fork``, as long as the handle exists."""
    _handles.add(handle)


def tracked() -> list[Forkable]:
    """The tracked handles that exist."""
    return list(_handles)


def _before() -> None:
    importing.acquire()
    opening.acquire()


def _in_parent() -> None:
    opening.release()
    importing.release()


def _in_child() -> None:
    opening.release()
    importing.release()
    closers = list(_closers.values())
    _closers.clear()
    for close in closers:
        with contextlib.suppress(OSError):  # the owner closed it at the moment of the fork
            close()
    for handle in tracked():
        handle.after_fork()


if not _IS_RELOADED:
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
