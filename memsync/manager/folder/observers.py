"""Observers: a thread that calls functions when a file in one of its folders appears or goes.

Linux is asked directly, as watchdog's three threads cost 15 ms at the first start, and some of all
peers' time at each event. Watchdog observes on other systems, and polls.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ...runtime import forks
from ..timing import TIMING
from .paths import TEMPORARY


class Observer(Protocol):
    """A thread that watches folders from `start` to `stop`; its methods raise `OSError`."""

    def start(self) -> None: ...

    def stop(self) -> None:
        """End the thread and free its descriptors; also after a failed `start`."""

    def schedule(self, path: Path, wake: Callable[[], None]) -> Any:
        """Call `wake` for events in a folder; returns the argument of `unschedule`."""

    def unschedule(self, watch: Any) -> None: ...


def is_temporary(name: str) -> bool:
    """Whether events of a file are left out: under its temporary name it may never be published."""
    return name.startswith(TEMPORARY)


class Inotify:
    """File events of Linux; see inotify(7)."""

    _CREATE, _DELETE, _MOVED_FROM, _MOVED_TO = 0x100, 0x200, 0x40, 0x80
    _DELETE_SELF, _MOVE_SELF = 0x400, 0x800
    _ONLY_FOLDERS, _OVERFLOW = 0x1000000, 0x4000
    # Without modifications, or each heartbeat would wake every peer.
    _EVENTS = _CREATE | _DELETE | _MOVED_FROM | _MOVED_TO | _DELETE_SELF | _MOVE_SELF
    _HEAD = struct.Struct("iIII")

    def __init__(self, name: str) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._wakes: dict[int, list[Callable[[], None]]] = {}
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        with forks.opening:
            self._fd = self._call("inotify_init1", os.O_CLOEXEC)
            try:
                self._end = os.eventfd(0, os.EFD_CLOEXEC)
            except BaseException:
                os.close(self._fd)
                raise
            forks.register(self, self._close)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            os.eventfd_write(self._end, 1)
            self._thread.join(TIMING.observer_stop)
        if not self._thread.is_alive():
            forks.release(self)
            self._close()

    def schedule(self, path: Path, wake: Callable[[], None]) -> tuple[int, Callable[[], None]]:
        mask = self._EVENTS | self._ONLY_FOLDERS
        number = self._call("inotify_add_watch", self._fd, os.fsencode(path), mask)
        # Two paths may lead to one folder, which has one number.
        self._wakes[number] = [*self._wakes.get(number, ()), wake]
        return number, wake

    def unschedule(self, watch: tuple[int, Callable[[], None]]) -> None:
        number, wake = watch
        self._wakes[number] = [each for each in self._wakes[number] if each != wake]
        if not self._wakes[number]:
            del self._wakes[number]
            self._libc.inotify_rm_watch(self._fd, number)  # fails if the folder is gone

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._end, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if self._end in ready:
                return
            for wake in self._due(os.read(self._fd, TIMING.file_bytes)):
                wake()

    def _due(self, events: bytes) -> set[Callable[[], None]]:
        """The functions to call for events as the kernel writes them."""
        due: set[Callable[[], None]] = set()
        position = 0
        while position < len(events):
            number, mask, _, size = self._HEAD.unpack_from(events, position)
            position += self._HEAD.size + size
            name = events[position - size : position].rstrip(b"\0")
            if mask & self._OVERFLOW:
                due.update(*list(self._wakes.values()))
            elif mask & self._EVENTS and not is_temporary(os.fsdecode(name)):
                due.update(self._wakes.get(number, ()))
        return due

    def _call(self, function: str, *arguments: Any) -> int:
        result: int = getattr(self._libc, function)(*arguments)
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    def _close(self) -> None:
        os.close(self._fd)
        os.close(self._end)


class Watchdog:
    """An observer of the package watchdog; the import takes long, so it waits for first use."""

    def __init__(self, name: str, *, polls: bool) -> None:
        self._watches: Counter[Any] = Counter()  # watchdog has one watch per folder
        self._observer: Any
        if polls:
            from watchdog.observers.polling import PollingObserver

            self._observer = PollingObserver(timeout=TIMING.poll_watch)
        else:
            from watchdog.observers import Observer

            self._observer = Observer()
        self._observer.name = name
        self._observer.daemon = True

    def start(self) -> None:
        self._observer.start()

    def stop(self) -> None:
        self._observer.stop()
        if self._observer.is_alive():
            self._observer.join(timeout=TIMING.observer_stop)

    def schedule(self, path: Path, wake: Callable[[], None]) -> tuple[Any, Any]:
        from watchdog import events

        class Handler(events.FileSystemEventHandler):
            def on_any_event(self, event: events.FileSystemEvent) -> None:
                source = os.path.basename(os.fsdecode(event.src_path))
                if event.dest_path or not is_temporary(source):
                    wake()

        handler = Handler()
        watch = self._observer.schedule(
            handler,
            str(path),
            recursive=False,
            event_filter=[  # as for inotify
                events.FileCreatedEvent,
                events.FileDeletedEvent,
                events.FileMovedEvent,
                events.DirDeletedEvent,  # the folder itself
            ],
        )
        self._watches[watch] += 1
        return watch, handler

    def unschedule(self, watch: tuple[Any, Any]) -> None:
        folder, handler = watch
        self._watches[folder] -= 1
        if self._watches[folder]:
            self._observer.remove_handler_for_watch(handler, folder)
            return
        del self._watches[folder]
        self._observer.unschedule(folder)
