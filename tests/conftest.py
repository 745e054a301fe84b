"""What every test has: a rendezvous folder of its own, and a check that it left nothing behind."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from memsync.testing import Cluster, until

from . import failures_at_once, interpreters
from .process_helpers import helper_pids

if TYPE_CHECKING:
    from memsync.testing.pytest_plugin import StartsClusters

# How long an example takes is for benchmarks to tell.
settings.register_profile("memsync", deadline=None)
settings.load_profile("memsync")

PATIENCE = 5.0  # seconds that threads, processes and descriptors of a test have to end
FOLDER_MAX = 40  # bytes; with an object's folder and a socket's name it stays below 100
# Descriptors that a leak would show as; files that the interpreter opened for itself do not count.
LEAKS = ("socket:", "pipe:", "anon_inode:")


def pytest_configure(config: pytest.Config) -> None:
    """Say what is wrong where the package was installed before it had a pytest plugin."""
    failures_at_once.register(config)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell starts what ends with "&"
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "memsync.testing.pytest_plugin" not in sys.modules:
        raise pytest.UsageError(
            "memsync's pytest plugin is not installed: run pip install -e '.[all,test]' again"
        )


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what only some interpreters run."""
    for item, mark in zip(items, interpreters.marks(i.nodeid for i in items), strict=True):
        if mark is not None:
            item.add_marker(mark)


@pytest.hookimpl(optionalhook=True)  # unknown without pytest-xdist
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Twice the cores, because most tests wait for other processes half of their time."""
    return 2 * (os.cpu_count() or 1)


@pytest.fixture(autouse=True)
def folder(memsync_folder: Path) -> Path:
    """Each test has a rendezvous folder of its own, whether it asks for it or not."""
    assert len(os.fsencode(memsync_folder)) <= FOLDER_MAX
    return memsync_folder


@pytest.fixture(autouse=True)
def leaves_nothing_behind(folder: Path) -> Iterator[None]:
    """Fail a test after which threads, processes, descriptors or held locks are left."""
    threads, children, descriptors = set(threading.enumerate()), _children(), _descriptors(folder)
    yield

    def leaks() -> dict[str, object]:
        found = {
            "threads": [t.name for t in set(threading.enumerate()) - threads],
            "processes": _children() - children - helper_pids(),
            "descriptors": {n: t for n, t in _descriptors(folder).items() if n not in descriptors},
            "held": _held(folder),
            "listening": _listening(folder),
        }
        return {kind: what for kind, what in found.items() if what}

    if leaks():
        gc.collect()  # what only a reference cycle keeps open is no leak
        until(lambda: not leaks(), PATIENCE, lambda: f"left behind: {leaks()}")


@pytest.fixture
def cluster(memsync_cluster: StartsClusters) -> Cluster:
    """A cluster without a peer so far."""
    return memsync_cluster(0)


def _children() -> set[int]:
    """The child processes of this one, zombies included (where the system tells)."""
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError):  # the thread has ended meanwhile
            found.update(map(int, path.read_text().split()))
    return found


def _descriptors(folder: Path) -> dict[int, str]:
    """The open descriptors of the kinds that leak (where the system tells)."""
    found = {}
    for entry in Path("/proc/self/fd").glob("*"):
        try:
            target = os.readlink(entry)
        except FileNotFoundError:  # the descriptor of this very listing
            continue
        if target.startswith((*LEAKS, str(folder))):
            found[int(entry.name)] = target
    return found


def _held(folder: Path) -> list[str]:
    """Files whose lock somebody holds: peers that live on, in whichever process."""
    held = []
    for path in (p for pattern in ("*/peer-*", "*/epoch-*") for p in folder.glob(pattern)):
        try:
            # Not blocking: a test may have put a pipe there.
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            held.append(path.name)
        except OSError:  # removed meanwhile, or none that could be held: a test has put it there
            continue
    return held


def _listening(folder: Path) -> list[str]:
    """Sockets that somebody keeps open in the folder (where the system tells)."""
    table = Path("/proc/net/unix")
    if not table.exists():
        return []
    return [line.split()[-1] for line in table.read_text().splitlines() if str(folder) in line]
