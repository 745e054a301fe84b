"""A rendezvous folder for one test: nobody else meets in it, and nothing of it stays."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import RendezvousError
from ..lifecycle import stop_all_in
from ..manager.folder.held_file import Files
from ..manager.folder.paths import short_folder
from .conditions import until

_BASE_MAX = 24  # bytes; with an object's folder and a socket's name the path stays below 100
_LEAVING = 5.0  # seconds that other processes have to leave


@contextmanager
def private_folder() -> Iterator[Path]:
    """A new folder for ``MEMSYNC_DIR``, its path short enough for sockets; removed in the end.

    Then the handles that this process still has in it are stopped. Raises `AssertionError` when
    another process stays in it, for that would make its files again, and go on doing so.
    """
    base = tempfile.gettempdir()
    is_short = len(os.fsencode(base)) <= _BASE_MAX
    folder = Path(tempfile.mkdtemp(prefix="ms-", dir=base if is_short else "/tmp"))
    try:
        yield folder
    finally:
        stop_all_in(str(folder))
        try:
            until(
                lambda: not _holders(folder),
                _LEAVING,
                lambda: (
                    f"processes {_holders(folder)} still use {folder}, which is removed now: end "
                    "them, or stop their handles, before the test ends"
                ),
            )
        finally:
            remove(folder)


def _holders(folder: Path) -> list[int]:
    """The processes whose peer file is held."""
    holders = set()
    for path in folder.glob("*.d/peer-*.json"):
        with suppress(RendezvousError):  # of a test that made it unreadable
            found = Files().inspect(path)
            if found is not None and found[0]:
                holders.add(_pid(found[1]))
    return sorted(holders)


def _pid(content: bytes) -> int:
    with suppress(ValueError, KeyError, TypeError):
        return int(json.loads(content)["pid"])
    return 0


def remove(folder: Path) -> None:
    """Remove a rendezvous folder that nobody uses, and what is kept for it elsewhere."""
    for place in folder.rglob("*.d"):
        for witnesses in Files().witness_folder(place):
            shutil.rmtree(witnesses)
        # Sockets for which it had no room, of hosts that were killed.
        shutil.rmtree(short_folder(place), ignore_errors=True)
    with suppress(FileNotFoundError):  # a test may have removed it itself
        shutil.rmtree(folder)
