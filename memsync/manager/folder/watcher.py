"""Wakes peers when a file in their object's folder changes: one observer per process and kind.

Watching only makes things faster. Where it is unavailable or switched off, the peers' bounded poll
(``network.poll``) notices the same changes later.
"""

from __future__ import annotations

import errno
import logging
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from ...runtime import forks
from ...runtime.logs import Logger
from ...runtime.native import LIBRARY, Lock
from ..timing import TIMING
from .paths import TEMPORARY

log = Logger("memsync.watcher")

Way = Literal["auto", "poll", "none"]
"""The values of the option ``network.watch``."""

Kind = Literal["system", "poll"]
"""An observer that the system notifies, and one that polls."""

_KINDS: dict[Way, tuple[Kind, ...]] = {"auto": ("system", "poll"), "poll": ("poll",), "none": ()}
_THREADS: dict[Kind, str] = {"system": "memsync-watch", "poll": "memsync-watch-poll"}
_INSTEAD: dict[Kind, str] = {
    "system": f"folders are polled every {TIMING.poll_watch} s",
    "poll": "peers check every network.poll seconds",
}
_ADVICE = {
    errno.EMFILE: "raise fs.inotify.max_user_instances (sysctl), or the open files (ulimit -n)",
    errno.ENOSPC: "raise fs.inotify.max_user_watches (sysctl)",
}


class _Watch:
    """A watched folder and the callbacks to wake."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wakes: set[Callable[[], None]] = set()
        self.observer: _Observer | None = None  # None where nothing can watch the folder
        self.handle: Any = None
        self.handler: Any = None
        # While the folder is open, no other folder gets its inode number.
        with forks.opening:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            forks.register(self, lambda: os.close(self._fd))

    def is_in_place(self) -> bool:
        """Whether the path still leads to the watched folder."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._fd))
        except OSError:
            return False

    def wake(self) -> None:
        for wake in list(self.wakes):
            wake()

    def close(self) -> None:
        forks.release(self)
        os.close(self._fd)


class _Observer:
    """A running watchdog observer and the number of its watches."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.watches = 0
        self._handlers: Counter[Any] = Counter()  # watchdog has one watch per folder
        self._observer = _new_observer(kind)
        self._observer.name = _THREADS[kind]
        self._observer.daemon = True
        try:
            self._observer.start()
        except BaseException:  # no thread is left: free the descriptors that it has opened
            self._observer.stop()
            raise

    def schedule(self, watch: _Watch) -> None:
        from watchdog import events

        class Handler(events.FileSystemEventHandler):
            def on_any_event(self, event: events.FileSystemEvent) -> None:
                # A file under its temporary name may never be published.
                is_temporary = os.path.basename(os.fsdecode(event.src_path)).startswith(TEMPORARY)
                if event.dest_path or not is_temporary:
                    watch.wake()

        watch.handler = Handler()
        watch.handle = self._observer.schedule(
            watch.handler,
            str(watch.path),
            recursive=False,
            event_filter=[  # without modifications, or each heartbeat would wake every peer
                events.FileCreatedEvent,
                events.FileDeletedEvent,
                events.FileMovedEvent,
                events.DirDeletedEvent,  # the folder itself
            ],
        )
        watch.observer = self
        self._handlers[watch.handle] += 1
        self.watches += 1

    def unschedule(self, watch: _Watch) -> None:
        self.watches -= 1
        self._handlers[watch.handle] -= 1
        if self._handlers[watch.handle]:
            self._observer.remove_handler_for_watch(watch.handler, watch.handle)
            return
        del self._handlers[watch.handle]
        self._observer.unschedule(watch.handle)

    def stop(self) -> None:
        self._observer.stop()
        self._observer.join(timeout=TIMING.observer_stop)


_IS_RELOADED = "_observers" in globals()  # `importlib.reload` keeps what runs

if not _IS_RELOADED:
    _lock = Lock()
    _observers: dict[Kind, _Observer] = {}
    _watches: dict[tuple[Path, Way], _Watch] = {}
    _warned: set[Kind] = set()


def watch(path: Path, wake: Callable[[], None], way: Way = "auto") -> bool:
    """Call `wake`, on an observer's thread, when a file there appears, goes or is renamed.

    Callers repeat this at each check: a folder that was deleted and recreated is another folder,
    about which the old watch reports nothing. Where the system's observer fails, the folder is
    polled, and a warning is logged once per process. Returns False where the folder cannot be
    opened now.
    """
    if way == "none":
        return True
    with _lock:
        found = _watches.get((path, way))
        if found is not None and found.is_in_place():
            found.wakes.add(wake)
            return True
        try:
            renewed = _Watch(path)
        except OSError as error:  # it is missing: the next check watches it
            log.debug("%s cannot be opened: %s", path, error)
            return False
        renewed.wakes.add(wake)
        if found is not None:
            log.info("watching %s again: it was deleted and recreated", path)
            renewed.wakes |= found.wakes
            _end(found)
        _watches[path, way] = renewed
        _begin(renewed, way)
        ended = _unused_observers()
    if found is not None:
        renewed.wake()  # something may have changed before the folder was watched
    for observer in ended:
        observer.stop()
    return True


def unwatch(path: Path, wake: Callable[[], None], way: Way = "auto") -> None:
    """Undo `watch`; an observer stops with its last watch."""
    with _lock:
        found = _watches.get((path, way))
        if found is None:
            return
        found.wakes.discard(wake)
        if found.wakes:
            return
        del _watches[path, way]
        _end(found)
        ended = _unused_observers()
    for observer in ended:
        observer.stop()


def _begin(watch: _Watch, way: Way) -> None:
    if LIBRARY:  # the threads of watchdog would be greenlets of whichever thread calls this
        return
    for kind in _KINDS[way]:
        try:
            if kind not in _observers:
                _observers[kind] = _Observer(kind)
            _observers[kind].schedule(watch)
            return
        except Exception as error:  # watchdog or the system may fail in any way
            _warn(watch.path, kind, error)


def _end(watch: _Watch) -> None:
    if watch.observer is not None:
        watch.observer.unschedule(watch)
    watch.close()


def _unused_observers() -> list[_Observer]:
    """The observers without a watch; the caller stops them after it has released the lock."""
    return [_observers.pop(kind) for kind, each in list(_observers.items()) if not each.watches]


def _new_observer(kind: Kind) -> Any:
    """A watchdog observer; the import takes a tenth of a second, so it waits for first use."""
    if kind == "poll":
        from watchdog.observers.polling import PollingObserver

        return PollingObserver(timeout=TIMING.poll_watch)
    from watchdog.observers import Observer

    logging.getLogger("watchdog.observers.inotify").addFilter(_is_real)
    return Observer()


def _is_real(record: logging.LogRecord) -> bool:
    """Watchdog logs an error for an event that arrives while a watch is being ended."""
    return "called when the thread is inactive" not in record.getMessage()


def _warn(path: Path, kind: Kind, error: Exception) -> None:
    if kind in _warned:
        return
    _warned.add(kind)
    hint = _ADVICE.get(error.errno or 0) if isinstance(error, OSError) else None
    advice = f"{hint}; until then " if hint else ""
    log.warning("%s cannot be watched (%s): %s%s", path, error, advice, _INSTEAD[kind])


def _after_fork() -> None:
    """The child has no observer threads."""
    global _lock
    _lock = Lock()
    _observers.clear()
    _watches.clear()


if not _IS_RELOADED:
    os.register_at_fork(after_in_child=_after_fork)
