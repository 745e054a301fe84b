"""A private rendezvous folder for one test, removed without a trace."""

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
_LEAVING = 5.0  # seconds until other processes must have left


@contextmanager
def private_folder() -> Iterator[Path]:
    """A new folder for ``MEMSYNC_DIR`` with a path short enough for sockets; removed at the end.

    First, the handles of this process in it are stopped. Raises `AssertionError` when another
    process stays in it, because that process would create its files again, and `RendezvousError`
    where no folder can be made.
    """
    folder = _new_folder()
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


def _new_folder() -> Path:
    try:
        base = tempfile.gettempdir()
        is_short = len(os.fsencode(base)) <= _BASE_MAX
        return Path(tempfile.mkdtemp(prefix="ms-", dir=base if is_short else "/tmp"))
    except OSError as error:
        raise RendezvousError(
            f"no temporary folder can be made ({error.strerror}): set TMPDIR to a folder that this "
            "process can write to"
        ) from error


def _holders(folder: Path) -> list[int]:
    """The processes whose peer file is held."""
    holders = set()
    for path in folder.glob("*.d/peer-*.json"):
        with suppress(RendezvousError):  # a test made it unreadable
            found = Files().inspect(path)
            if found is not None and found[0]:
                holders.add(_pid(found[1]))
    return sorted(holders)


def _pid(content: bytes) -> int:
    with suppress(ValueError, KeyError, TypeError):
        return int(json.loads(content)["pid"])
    return 0


def remove(folder: Path) -> None:
    """Remove an unused rendezvous folder, and its witnesses and sockets elsewhere."""
    for place in folder.rglob("*.d"):
        for witnesses in Files().witness_folder(place):
            shutil.rmtree(witnesses)
        # Sockets of killed hosts; its own path was too long for them.
        shutil.rmtree(short_folder(place), ignore_errors=True)
    with suppress(FileNotFoundError):  # a test may have removed it itself
        shutil.rmtree(folder)
