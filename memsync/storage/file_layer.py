"""The system calls of a save, in one place, so that tests can record, fail and reorder them."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..clocks import monotonic
from ..errors import StorageError

LOCK_PATIENCE = 1.0
"""Seconds to wait for the folder's lock, which others hold for less than a millisecond."""


class FileLayer:
    """Files of this machine; all methods raise `OSError`."""

    def create(self, path: str, mode: int) -> int:
        """A new file, open for writing; there must be none."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)

    def write(self, descriptor: int, data: bytes | bytearray) -> None:
        """Write all of the data."""
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def sync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def replace(self, old: str, new: str) -> None:
        os.replace(old, new)

    def remove(self, path: str) -> None:
        os.unlink(path)

    def make_folder(self, path: str) -> None:
        """Make a folder with those above it, durably."""
        missing = []
        while not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        for folder in reversed(missing):
            os.mkdir(folder)
            self.sync_folder(os.path.dirname(folder))

    def sync_folder(self, path: str) -> None:
        """Make the names in a folder durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self, path: str, most: int = -1) -> bytes | None:
        """At most that many bytes; None where there is no file."""
        try:
            with open(path, "rb") as file:
                return file.read(most)
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        return os.listdir(folder)

    @contextmanager
    def locked(self, folder: str) -> Iterator[None]:
        """Hold the lock of a folder; raises `StorageError` if another process keeps it.

        The lock needs no file of its own. The kernel frees it when the holder dies.
        """
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            deadline = monotonic() + LOCK_PATIENCE
            while not _try_lock(descriptor):
                if monotonic() > deadline:
                    raise StorageError(
                        f"{folder}: another process holds the lock of this folder: is one of those "
                        "that save here suspended?"
                    )
                time.sleep(0.001)
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a forked child has the descriptor, too
            os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
