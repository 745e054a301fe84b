"""The system calls of a save, in one place, so that tests can record, fail and reorder them."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from zlib import crc32

from ..clocks import monotonic
from ..errors import StorageError
from ..runtime import forks

LOCK_PATIENCE = 1.0
"""Seconds to wait for the folder's lock, which others hold for less than a millisecond."""


CHUNK = 1 << 20
"""Bytes that are read at once."""


class FileLayer:
    """Files of this machine; all methods raise `OSError`."""

    def create(self, path: str, mode: int) -> int:
        """A new file, open for writing; there must be none."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)

    def resemble(self, descriptor: int, path: str) -> None:
        """Give an open file the permissions of the one at a path, and its owner if possible."""
        try:
            there = os.stat(path)
        except FileNotFoundError:
            return
        own = os.fstat(descriptor)
        for owner in ((-1, there.st_gid), (there.st_uid, -1)):
            if owner not in ((-1, own.st_gid), (own.st_uid, -1)):
                with suppress(PermissionError):
                    os.fchown(descriptor, *owner)
        os.fchmod(descriptor, stat.S_IMODE(there.st_mode) & 0o777)

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

    def link(self, old: str, new: str) -> None:
        """Give a durable file a second name; without links, make a durable copy."""
        try:
            os.link(old, new)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS):
                raise
            self._copy(old, new)

    def _copy(self, old: str, new: str) -> None:
        descriptor = self.create(new, 0o666)
        try:
            for chunk in self._chunks(old):
                self.write(descriptor, chunk)
            self.sync(descriptor)
        finally:
            self.close(descriptor)

    def _chunks(self, path: str) -> Iterator[bytes]:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def checksum(self, path: str) -> int:
        """The CRC-32 of a file."""
        crc = 0
        for chunk in self._chunks(path):
            crc = crc32(chunk, crc)
        return crc

    def is_at(self, descriptor: int, path: str) -> bool:
        """Whether an open file is still the one at a path."""
        try:
            return os.path.samestat(os.stat(path), os.fstat(descriptor))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def size(self, path: str) -> int:
        return os.stat(path).st_size

    def changed_at(self, path: str) -> float:
        """When a file was written last (seconds since 1970)."""
        return os.stat(path).st_mtime

    def remove(self, path: str) -> None:
        os.unlink(path)

    def make_folder(self, path: str) -> None:
        """Make a folder with those above it, durably."""
        missing = []
        while not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        for folder in reversed(missing):
            try:
                os.mkdir(folder)
            except FileExistsError:
                if not os.path.isdir(folder):  # another process has not made it
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
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
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # a pipe could be read for ever
                raise OSError(errno.EINVAL, "it is no regular file")
            return file.read(most)

    def tail(self, path: str, most: int) -> bytes:
        """The last bytes of a file, at most that many."""
        with open(path, "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - most, 0))
            return file.read(most)

    def names(self, folder: str) -> list[str]:
        return os.listdir(folder)

    @contextmanager
    def locked(self, folder: str) -> Iterator[None]:
        """Hold the lock of a folder; raises `StorageError` if another process keeps it.

        The lock needs no file of its own. The kernel frees it when the holder dies.
        """
        key = object()
        with forks.opening:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            forks.register(key, partial(os.close, descriptor))
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
            fcntl.flock(
                descriptor, fcntl.LOCK_UN
            )  # a child that forks now may yet have to close it
            forks.release(key)
            os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
