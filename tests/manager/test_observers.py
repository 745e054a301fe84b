"""Observers notice that files appear and go, and leave out what would wake peers for nothing."""

from __future__ import annotations

import os
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from memsync.manager.folder.observers import Inotify, Observer, Watchdog
from memsync.testing import until

NAME = "memsync-watch"
NOT_LONG = 0.5  # seconds without an event; a polling observer looks every 0.2

KINDS: dict[str, Callable[[], Observer]] = {
    "watchdog": partial(Watchdog, NAME, polls=False),
    "polling": partial(Watchdog, NAME, polls=True),
}
if sys.platform == "linux":
    KINDS["inotify"] = partial(Inotify, NAME)


@pytest.fixture(params=KINDS)
def observer(request: pytest.FixtureRequest) -> Iterator[Observer]:
    observer = KINDS[request.param]()
    observer.start()
    try:
        yield observer
    finally:
        observer.stop()
        until(lambda: NAME not in [thread.name for thread in threading.enumerate()])


class Woken:
    """Counts how often it is called."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __call__(self) -> None:
        self._event.set()

    def within(self, seconds: float) -> bool:
        was_woken = self._event.wait(seconds)
        self._event.clear()
        return was_woken


def test_files_that_appear_and_go_are_noticed(observer: Observer, tmp_path: Path) -> None:
    woken = Woken()
    observer.schedule(tmp_path, woken)
    (tmp_path / "one").touch()
    assert woken.within(5)
    (tmp_path / "one").rename(tmp_path / "other")
    assert woken.within(5)
    (tmp_path / "other").unlink()
    assert woken.within(5)


def test_heartbeats_and_temporary_files_are_not(observer: Observer, tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    woken = Woken()
    observer.schedule(tmp_path, woken)
    os.utime(tmp_path / "lock")
    (tmp_path / "tmp-1").touch()
    (tmp_path / "tmp-1").unlink()
    assert not woken.within(NOT_LONG)
    (tmp_path / "tmp-2").touch()
    os.replace(tmp_path / "tmp-2", tmp_path / "lock")
    assert woken.within(5)


def test_a_watch_that_has_ended_wakes_nobody(observer: Observer, tmp_path: Path) -> None:
    first, second = Woken(), Woken()
    watches = [observer.schedule(tmp_path, woken) for woken in (first, second)]
    observer.unschedule(watches[0])
    (tmp_path / "one").touch()
    assert second.within(5)
    observer.unschedule(watches[1])
    (tmp_path / "two").touch()
    assert not second.within(NOT_LONG)
    assert not first.within(0)


def test_the_folder_itself_may_go(observer: Observer, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    woken = Woken()
    watch = observer.schedule(place, woken)
    place.rmdir()
    assert woken.within(5)
    observer.unschedule(watch)


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_one_that_was_not_started_can_be_stopped(make: Callable[[], Observer]) -> None:
    make().stop()


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is a part of Linux")
class TestInotify:
    def test_lost_events_wake_everybody(self, tmp_path: Path) -> None:
        observer, woken = Inotify(NAME), Woken()
        observer.schedule(tmp_path, woken)
        assert observer._due(struct.pack("iIII", -1, 0x4000, 0, 0)) == {woken}
        observer.stop()

    def test_what_cannot_be_watched_is_an_error(self, tmp_path: Path) -> None:
        observer = Inotify(NAME)
        with pytest.raises(NotADirectoryError):
            observer.schedule(Path(__file__), Woken())
        observer.stop()

    def test_its_descriptors_are_closed(self) -> None:
        before = os.listdir("/proc/self/fd")
        observer = Inotify(NAME)
        observer.start()
        observer.stop()
        assert os.listdir("/proc/self/fd") == before
