"""What every test has: a rendezvous folder of its own, and a check that it left nothing behind."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cluster import Cluster, helper_pids, until

from memsync.manager.files import Files
from memsync.manager.folder import short_folder

# The strategies of the document language serve the tests of replication as well.
sys.path.append(str(Path(__file__).parent / "document"))

PATIENCE = 5.0  # seconds that threads, processes and descriptors of a test have to end
FOLDER_MAX = 40  # bytes; with an object's folder and a socket's name it stays below 100
# Descriptors that a leak would show as; files that the interpreter opened for itself do not count.
LEAKS = ("socket:", "pipe:", "anon_inode:")


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A private rendezvous folder, named by ``MEMSYNC_DIR``; no other option from outside."""
    for name in [name for name in os.environ if name.startswith("MEMSYNC_")]:
        monkeypatch.delenv(name)
    base = tempfile.gettempdir()
    path = tempfile.mkdtemp(prefix="ms-", dir=base if len(os.fsencode(base)) < 25 else "/tmp")
    assert len(os.fsencode(path)) <= FOLDER_MAX
    monkeypatch.setenv("MEMSYNC_DIR", path)
    yield Path(path)
    for place in Path(path).rglob("*.d"):
        for witnesses in Files().witness_folder(place):
            shutil.rmtree(witnesses)
        shutil.rmtree(short_folder(place), ignore_errors=True)  # of hosts that were killed
    shutil.rmtree(path)


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
def cluster() -> Iterator[Cluster]:
    """Peers in real processes, killed and joined when the test ends."""
    with Cluster() as peers:
        yield peers


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
    for path in (p for pattern in ("*/*.json", "*/*.lock") for p in folder.glob(pattern)):
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            held.append(path.name)
        except (FileNotFoundError, PermissionError):  # removed meanwhile; a test of permissions
            continue
    return held


def _listening(folder: Path) -> list[str]:
    """Sockets that somebody keeps open in the folder (where the system tells)."""
    table = Path("/proc/net/unix")
    if not table.exists():
        return []
    return [line.split()[-1] for line in table.read_text().splitlines() if str(folder) in line]
