"""How changes in the folder are noticed: what is watched, and what happens where that fails."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.manager.folder import watcher
from memsync.testing import NAME, PATIENCE, Cluster, Peer, until

pytestmark = pytest.mark.process

OBSERVERS = {"auto": ["memsync-watch"], "poll": ["memsync-watch-poll"], "none": []}
NEVER = {"network": {"poll": 60, "lease": 600}}  # nothing is noticed in time but by an event


def observers() -> list[str]:
    """The names of the observers' threads in this process."""
    return [t.name for t in threading.enumerate() if t.name.startswith("memsync-watch")]


def open_in(place: Path) -> list[str]:
    """What this process has open of a folder, itself and deleted ones included."""
    links = [Path(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    targets = []
    for link in links:
        with suppress(FileNotFoundError):  # another thread has closed it
            targets.append(os.readlink(link))
    return [each for each in targets if each.removesuffix(" (deleted)") == str(place)]


# -- one observer ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["auto", "poll", "none"])
def test_there_is_one_observer_however_many_objects(way: str) -> None:
    options = {"network": {"watch": way}}
    handles = [MemSync[Any](f"object{i}", {"n": i}, options) for i in range(50)]
    try:
        for handle in handles:
            assert handle.start() == "host"
        assert observers() == OBSERVERS[way]
    finally:
        for handle in handles:
            handle.stop()
    assert observers() == []


def test_handles_of_one_object_may_watch_in_different_ways() -> None:
    ways = [MemSync[Any](NAME, {}, {"network": {"watch": way}}) for way in ("poll", "auto", "none")]
    for handle in ways:
        handle.start()
    assert sorted(observers()) == ["memsync-watch", "memsync-watch-poll"]
    ways[0].stop()
    assert observers() == ["memsync-watch"]
    for handle in ways[1:]:
        handle.stop()
    assert observers() == []


@pytest.mark.watched(everywhere=True)
def test_the_environment_says_how_a_peer_watches(cluster: Cluster, way_of_watching: str) -> None:
    assert cluster.peer().run(lambda mem: observers()) == OBSERVERS[way_of_watching]


# -- an observer that cannot be had ----------------------------------------------------------------

LIMITED = """
import logging, threading
from pathlib import Path
limit = Path("/proc/sys/user/max_inotify_{limit}")
limit.write_text("0")
logging.basicConfig(format="%(message)s")
from memsync import MemSync
handles = [MemSync(name, {{"n": 1}}) for name in ("one", "two")]
print([handle.start() for handle in handles])
print([t.name for t in threading.enumerate() if t.name.startswith("memsync-watch")])
for handle in handles:
    handle.patch({{"$inc": {{"n": 1}}}})
    handle.stop()
"""
OWN_LIMITS = ["unshare", "--user", "--map-root-user"]


def has_own_limits() -> bool:
    """Whether this user may have limits of inotify of its own (in a user namespace)."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*OWN_LIMITS, "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not has_own_limits(), reason="user namespaces are not to be had")
@pytest.mark.parametrize("limit", ["instances", "watches"])
def test_where_the_system_has_no_more_to_give_folders_are_polled(limit: str) -> None:
    program = [*OWN_LIMITS, sys.executable, "-c", LIMITED.format(limit=limit)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["['host', 'host']", "['memsync-watch-poll']"], done.stderr
    (line,) = done.stderr.splitlines()
    assert f"fs.inotify.max_user_{limit}" in line
    assert "polled" in line


@pytest.mark.parametrize("step", ["construct", "start", "schedule"])
@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EMFILE, "raise fs.inotify.max_user_instances"),
        (errno.ENOSPC, "raise fs.inotify.max_user_watches"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_failure_to_watch_is_logged_once_and_what_it_began_ends(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    step: str,
    number: int,
    hint: str,
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    real: Callable[[watcher.Kind], Any] = watcher._new_observer

    def broken(kind: watcher.Kind) -> Any:
        if kind == "poll":
            return real(kind)
        if step == "construct":
            fail()
        observer = real(kind)
        monkeypatch.setattr(observer, step, fail)
        return observer

    monkeypatch.setattr(watcher, "_new_observer", broken)
    monkeypatch.setattr(watcher, "_warned", set())
    caplog.set_level(logging.WARNING, "memsync.watcher")
    with MemSync("one"), MemSync("two"):
        assert observers() == ["memsync-watch-poll"]
    (record,) = caplog.records
    assert hint in record.getMessage()
    assert "polled" in record.getMessage()


def test_handles_whose_ways_lead_to_one_observer_end_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Watchdog has one watch for a folder, and forgot it with the first that had enough."""
    new = watcher._new_observer

    def without_system(kind: watcher.Kind) -> Any:
        if kind == "system":
            raise OSError(errno.EMFILE, "inotify instance limit reached")
        return new(kind)

    monkeypatch.setattr(watcher, "_new_observer", without_system)
    one, other = threading.Event(), threading.Event()
    watcher.watch(tmp_path, one.set, "auto")
    watcher.watch(tmp_path, other.set, "poll")
    watcher.unwatch(tmp_path, one.set, "auto")
    (tmp_path / "new").touch()
    assert other.wait(PATIENCE)
    assert not one.is_set()
    watcher.unwatch(tmp_path, other.set, "poll")
    until(lambda: observers() == [])


def test_where_nothing_can_watch_the_poll_of_the_peers_is_named_and_works(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, folder: Path
) -> None:
    def broken(kind: watcher.Kind) -> None:
        raise ModuleNotFoundError("No module named 'ctypes'")

    monkeypatch.setattr(watcher, "_new_observer", broken)
    monkeypatch.setattr(watcher, "_warned", set())
    with MemSync[Any](NAME, options={"network": {"poll": 0.05}}) as mem:
        own = folder / f"{NAME}.d" / f"peer-{mem.id}.json"
        own.unlink()
        until(own.exists)
    messages = [r.getMessage() for r in caplog.records if r.name == "memsync.watcher"]
    assert len(messages) == 2
    assert "network.poll" in messages[1]


# -- a folder that is made again -------------------------------------------------------------------


def delete(place: Path) -> None:
    """Delete a folder in one step, while others are at it."""
    shutil.rmtree(place.rename(place.with_name("deleted")))


def own_file(peer: Peer, place: Path) -> Path:
    """The file which nobody but this peer makes again."""
    return place / f"peer-{peer.status()['id']}.json"


@pytest.mark.parametrize("way", ["auto", "poll"])
def test_events_of_a_folder_that_was_made_again_wake_peers(
    cluster: Cluster, folder: Path, way: str
) -> None:
    place = folder / f"{NAME}.d"
    cluster.peer({"n": 1}, {"network": {"poll": 0.2, "lease": 600, "watch": way}})
    client = cluster.peer(options={"network": {**NEVER["network"], "watch": way}})
    own = own_file(client, place)
    for _ in range(3):
        delete(place)
        until(lambda: own.exists() and (place / "rendezvous.json").exists())
        own.unlink()
        until(own.exists, message="no event has woken the client")
    # It may still look at the folder.
    until(lambda: client.run(lambda mem: observers()) == OBSERVERS[way])
    until(lambda: client.run(lambda mem: open_in(place)) == [str(place)])
    assert client.snapshot() == {"n": 1}


@pytest.mark.parametrize("way", ["auto", "poll"])
def test_the_old_watch_ends_when_a_folder_is_made_again(tmp_path: Path, way: watcher.Way) -> None:
    place = tmp_path / "place"
    woken = [threading.Event(), threading.Event()]
    threads = threading.active_count()
    before = None
    for round_ in range(5):
        place.mkdir()
        for event in woken:
            watcher.watch(place, event.set, way)
        for event in woken:
            event.clear()
        before = before or threading.active_count()
        assert threading.active_count() == before
        assert open_in(place) == [str(place)]
        (place / f"{round_}").touch()
        for event in woken:
            assert event.wait(PATIENCE)
        shutil.rmtree(place)
    watcher.watch(place, woken[0].set, way)  # there is nothing to be watched
    for event in woken:
        watcher.unwatch(place, event.set, way)
    until(lambda: threading.active_count() == threads)
    assert open_in(place) == []


def test_a_forked_child_has_an_observer_of_its_own(cluster: Cluster, folder: Path) -> None:
    def child(connection: Any) -> None:
        mem = MemSync[Any](NAME, options=NEVER)
        mem.start()
        own = folder / f"{NAME}.d" / f"peer-{mem.id}.json"
        own.unlink()
        until(own.exists, message="no event has woken the child")
        until(lambda: len(open_in(own.parent)) == 1)  # it may still look at the folder
        connection.send(observers())
        mem.stop()

    def fork(mem: Any) -> object:
        context = get_context("fork")
        ours, theirs = context.Pipe()
        process = context.Process(target=child, args=(theirs,))
        process.start()
        found = ours.recv() if ours.poll(30) else None
        process.join(20)
        return found

    host = cluster.peer({"n": 1}, {"network": {"lease": 600}})
    assert host.result(host.begin(fork), 60) == ["memsync-watch"]
    assert host.run(lambda mem: observers()) == ["memsync-watch"]
