"""Wakes peers when something changes in their object's folder: one observer per process and kind.

Watching is a hint that makes things faster, never what correctness rests on: where it is not to be
had, or not wanted, the peers' bounded poll (``network.poll``) does the same, later.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from ...runtime import forks
from ..timing import TIMING
from .paths import TEMPORARY

log = logging.getLogger("memsync.watcher")

Way = Literal["auto", "poll", "none"]
"""How to watch: the values of the option ``network.watch``."""

Kind = Literal["system", "poll"]
"""An observer that the system tells of changes, and one that looks for itself."""

_KINDS: dict[Way, tuple[Kind, ...]] = {"auto": ("system", "poll"), "poll": ("poll",), "none": ()}
_THREADS: dict[Kind, str] = {"system": "memsync-watch", "poll": "memsync-watch-poll"}
_INSTEAD: dict[Kind, str] = {
    "system": f"folders are polled every {TIMING.poll_watch} s",
    "poll": "peers look every network.poll seconds",
}
_WAYS_OUT = {
    errno.EMFILE: "raise fs.inotify.max_user_instances (sysctl), or the open files (ulimit -n)",
    errno.ENOSPC: "raise fs.inotify.max_user_watches (sysctl)",
}


class _Watch:
    """A folder that is watched, for all that want to be woken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wakes: set[Callable[[], None]] = set()
        self.observer: _Observer | None = None  # none where nothing can watch it
        self.handle: Any = None
        self.handler: Any = None
        # Held open: as long as it is, no other folder gets the same number.
        with forks.opening:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            forks.register(self, lambda: os.close(self._fd))

    def is_in_place(self) -> bool:
        """Whether the path still leads to the folder that is watched."""
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
    """A running observer of watchdog's, and the number of its watches."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.watches = 0
        self._handlers: Counter[Any] = Counter()  # watchdog has one watch for all of a folder
        self._observer = _new_observer(kind)
        self._observer.name = _THREADS[kind]
        self._observer.daemon = True
        try:
            self._observer.start()
        except BaseException:  # no more threads to be had: nor may it keep what it has
            self._observer.stop()
            raise

    def schedule(self, watch: _Watch) -> None:
        from watchdog import events

        class Handler(events.FileSystemEventHandler):
            def on_any_event(self, event: events.FileSystemEvent) -> None:
                # A file is made under a temporary name: its maker alone knows whether it will do.
                is_temporary = os.path.basename(os.fsdecode(event.src_path)).startswith(TEMPORARY)
                if event.dest_path or not is_temporary:
                    watch.wake()

        watch.handler = Handler()
        watch.handle = self._observer.schedule(
            watch.handler,
            str(watch.path),
            recursive=False,
            event_filter=[  # not what is modified, or each heartbeat would wake everybody
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


_lock = threading.Lock()
_observers: dict[Kind, _Observer] = {}
_watches: dict[tuple[Path, Way], _Watch] = {}
_warned: set[Kind] = set()


def watch(path: Path, wake: Callable[[], None], way: Way = "auto") -> None:
    """Call `wake`, on an observer's thread, when a file there appears, goes or is renamed.

    To be called again at each look: a folder that was deleted and made again is another one, of
    which the observer would never tell anything. Where the system's observer cannot be had, the
    folder is polled; that is logged once per process.
    """
    if way == "none":
        return
    with _lock:
        found = _watches.get((path, way))
        if found is not None and found.is_in_place():
            found.wakes.add(wake)
            return
        try:
            renewed = _Watch(path)
        except OSError as error:  # it is missing this very moment: at the next look
            log.debug("%s cannot be opened: %s", path, error)
            return
        renewed.wakes.add(wake)
        if found is not None:
            log.info("%s was deleted and made again: it is watched anew", path)
            renewed.wakes |= found.wakes
            _end(found)
        _watches[path, way] = renewed
        _begin(renewed, way)
        ended = _unused_observers()
    if found is not None:
        renewed.wake()  # to look once more, for what happened before it was watched
    for observer in ended:
        observer.stop()


def unwatch(path: Path, wake: Callable[[], None], way: Way = "auto") -> None:
    """Undo `watch`; an observer ends with its last watch."""
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
    for kind in _KINDS[way]:
        try:
            if kind not in _observers:
                _observers[kind] = _Observer(kind)
            _observers[kind].schedule(watch)
            return
        except Exception as error:  # whatever watchdog or the system lacks
            _warn(watch.path, kind, error)


def _end(watch: _Watch) -> None:
    if watch.observer is not None:
        watch.observer.unschedule(watch)
    watch.close()


def _unused_observers() -> list[_Observer]:
    """Those without a watch, for the caller to stop once the lock is free."""
    return [_observers.pop(kind) for kind, each in list(_observers.items()) if not each.watches]


def _new_observer(kind: Kind) -> Any:
    """An observer of watchdog's, imported at first use: it costs a tenth of a second."""
    if kind == "poll":
        from watchdog.observers.polling import PollingObserver

        return PollingObserver(timeout=TIMING.poll_watch)
    from watchdog.observers import Observer

    logging.getLogger("watchdog.observers.inotify").addFilter(_is_no_false_alarm)
    return Observer()


def _is_no_false_alarm(record: logging.LogRecord) -> bool:
    """Watchdog calls it an error that an event arrives while a watch is being ended."""
    return "called when the thread is inactive" not in record.getMessage()


def _warn(path: Path, kind: Kind, error: Exception) -> None:
    if kind in _warned:
        return
    _warned.add(kind)
    hint = _WAYS_OUT.get(error.errno or 0) if isinstance(error, OSError) else None
    advice = f"{hint}; until then " if hint else ""
    log.warning("%s cannot be watched (%s): %s%s", path, error, advice, _INSTEAD[kind])


def _after_fork() -> None:
    """The observers' threads did not come along into the child."""
    global _lock
    _lock = threading.Lock()
    _observers.clear()
    _watches.clear()


os.register_at_fork(after_in_child=_after_fork)
