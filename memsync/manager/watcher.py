"""Wakes peers when something changes in their object's folder: one watchdog observer per process.

Watching is a hint that makes things faster, never what correctness rests on: where it is not to be
had (network file systems, limits of inotify) the peers' bounded poll does the same, later.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger("memsync.watcher")

_lock = threading.Lock()
_observer: Any = None
_watches: dict[Path, tuple[Any, set[Callable[[], None]]]] = {}
_warned = False


def _is_no_false_alarm(record: logging.LogRecord) -> bool:
    """Watchdog calls it an error that an event arrives while a watch is being ended."""
    return "called when the thread is inactive" not in record.getMessage()


def watch(path: Path, wake: Callable[[], None]) -> None:
    """Call `wake`, on the observer's thread, when a file there appears, goes or is renamed."""
    with _lock:
        if path in _watches:
            _watches[path][1].add(wake)
            return
        try:
            _start(path, wake)
        except Exception as error:  # whatever watchdog or the system lacks: the poll does it
            _warn(path, error)


def unwatch(path: Path, wake: Callable[[], None]) -> None:
    """Undo `watch`; the observer ends with its last watch."""
    global _observer
    with _lock:
        if path not in _watches:
            return
        handle, wakes = _watches[path]
        wakes.discard(wake)
        if wakes:
            return
        del _watches[path]
        _observer.unschedule(handle)
        if _watches:
            return
        ended, _observer = _observer, None
    ended.stop()
    ended.join(timeout=5)


def _start(path: Path, wake: Callable[[], None]) -> None:
    global _observer
    from watchdog.events import (  # imported at first use: it costs a tenth of a second
        FileCreatedEvent,
        FileDeletedEvent,
        FileMovedEvent,
        FileSystemEventHandler,
    )
    from watchdog.observers import Observer

    logging.getLogger("watchdog.observers.inotify").addFilter(_is_no_false_alarm)
    wakes = {wake}

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: object) -> None:
            for each in list(wakes):
                each()

    observer = _observer
    if observer is None:
        observer = Observer()
        observer.name = "memsync-watch"
        observer.daemon = True
        observer.start()
    try:
        handle = observer.schedule(
            Handler(),
            str(path),
            recursive=False,
            event_filter=[FileCreatedEvent, FileDeletedEvent, FileMovedEvent],
        )
    except BaseException:
        if _observer is None:
            observer.stop()
        raise
    _observer = observer
    _watches[path] = (handle, wakes)


def _warn(path: Path, error: Exception) -> None:
    global _warned
    if not _warned:
        log.warning("%s cannot be watched (%s): peers look into it regularly instead", path, error)
    _warned = True


def _after_fork() -> None:
    """The observer's threads did not come along into the child."""
    global _lock, _observer
    _lock = threading.Lock()
    _observer = None
    _watches.clear()


os.register_at_fork(after_in_child=_after_fork)
