"""Waiting for several descriptors.

The selectors of the standard library change a mask by two system calls and several objects. A
client changes the mask of its socket twice for each write, so on Linux it is one system call here.
"""

from __future__ import annotations

import math
import select
import selectors
import sys
from typing import Protocol

from .sockets import epoll

Ready = list[tuple[selectors.SelectorKey, int]]
"""The result of a selector: keys, and the events for which each is ready."""

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class HasFileno(Protocol):
    """What a selector can wait for."""

    def fileno(self) -> int: ...


class Selector(Protocol):
    """Waits for events (`READ`, `WRITE`); other threads may change what it waits for."""

    def register(self, fileobj: HasFileno, events: int, data: object = None) -> None: ...

    def change(self, fileobj: HasFileno, events: int) -> None:
        """Wait for these events on a registered object; 0 is for none."""

    def unregister(self, fileobj: HasFileno) -> None: ...

    def select(self, timeout: float) -> Ready:
        """Wait for `timeout` seconds at most."""

    def close(self) -> None: ...


class PortableSelector:
    """A `Selector` for every system."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._data: dict[HasFileno, object] = {}
        self._paused: set[HasFileno] = set()

    def register(self, fileobj: HasFileno, events: int, data: object = None) -> None:
        self._selector.register(fileobj, events, data)
        self._data[fileobj] = data

    def change(self, fileobj: HasFileno, events: int) -> None:
        data = self._data[fileobj]
        if not events:
            self._selector.unregister(fileobj)
            self._paused.add(fileobj)
        elif fileobj in self._paused:
            self._selector.register(fileobj, events, data)
            self._paused.discard(fileobj)
        else:
            self._selector.modify(fileobj, events, data)

    def unregister(self, fileobj: HasFileno) -> None:
        del self._data[fileobj]
        if fileobj in self._paused:
            self._paused.discard(fileobj)
        else:
            self._selector.unregister(fileobj)

    def select(self, timeout: float) -> Ready:
        return self._selector.select(timeout)

    def close(self) -> None:
        self._selector.close()


if sys.platform == "linux":

    class EpollSelector:
        """A `Selector` over epoll."""

        def __init__(self) -> None:
            self._epoll = epoll()
            self._keys: dict[int, selectors.SelectorKey] = {}

        def register(self, fileobj: HasFileno, events: int, data: object = None) -> None:
            fd = fileobj.fileno()
            self._epoll.register(fd, _MASKS[events])
            self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)

        def change(self, fileobj: HasFileno, events: int) -> None:
            self._epoll.modify(fileobj.fileno(), _MASKS[events])

        def unregister(self, fileobj: HasFileno) -> None:
            fd = fileobj.fileno()
            del self._keys[fd]
            self._epoll.unregister(fd)

        def select(self, timeout: float) -> Ready:
            if timeout > 0:
                timeout = math.ceil(timeout * 1000) / 1000  # epoll takes milliseconds
            found = self._epoll.poll(timeout, len(self._keys) or 1)
            return [
                (key, (READ if mask & ~select.EPOLLOUT else 0) | (WRITE if mask & ~_IN else 0))
                for fd, mask in found
                if (key := self._keys.get(fd)) is not None
            ]

        def close(self) -> None:
            self._epoll.close()

    _IN = select.EPOLLIN
    # An end of the stream is reported whatever the mask is: without one, at most once.
    _MASKS = {
        0: select.EPOLLONESHOT,
        READ: select.EPOLLIN,
        WRITE: select.EPOLLOUT,
        READ | WRITE: select.EPOLLIN | select.EPOLLOUT,
    }

    def new_selector() -> Selector:
        """The fastest selector of this system; raises `OSError`."""
        return EpollSelector()

else:

    def new_selector() -> Selector:
        """The fastest selector of this system; raises `OSError`."""
        return PortableSelector()
