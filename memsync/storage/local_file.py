"""A file of this machine: written beside its place, made durable, and put there in one step.

The comparison with what is there and the replacement are one step for all processes, because they
happen under the lock of the folder. A process that is suspended in this step keeps the others from
saving until it goes on or dies, but not from writing to the object.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

from ..errors import StorageError
from ..runtime import forks
from .file_layer import FileLayer
from .targets import LOCK, START, Check

_LONGEST_NAME = 200
"""Bytes of a name; a temporary file has some more, and few systems take more than 255."""


class LocalFile:
    """See `targets.Target`."""

    fencing = LOCK

    def __init__(self, path: str, files: FileLayer | None = None) -> None:
        self.url = path
        self._files = files or FileLayer()
        self._is_clean = False

    def prepare(self) -> None:
        """Remove what saves that were killed have left."""
        if self._is_clean:
            return
        folder, name = os.path.split(self._place())
        left_here = re.compile(rf"{re.escape(_start(name))}[0-9a-f]{{16}}\.tmp", re.DOTALL)
        with suppress(OSError):
            for each in self._files.names(folder):
                if left_here.fullmatch(each):
                    # A host that still writes it has been deposed, or is another group's.
                    with suppress(OSError):
                        self._files.remove(os.path.join(folder, each))
            self._is_clean = True

    def read(self) -> bytes | None:
        return self._read(-1)

    def read_start(self) -> bytes | None:
        return self._read(START)

    def _read(self, most: int) -> bytes | None:
        place = self._place()
        try:
            return self._files.read(place, most)
        except OSError as error:
            raise _failure(place, "cannot be read", error) from error

    def write(self, pieces: Iterable[bytes | bytearray], check: Check) -> None:
        place = self._place()
        folder, name = os.path.split(place)
        temporary = os.path.join(folder, f"{_start(name)}{secrets.token_hex(8)}.tmp")
        files = self._files
        try:
            files.make_folder(folder)
            # After a failed fsync the kernel may drop what it could not write, so that the next
            # fsync of the same file succeeds: each attempt writes a file of its own.
            descriptor = files.create(temporary, self._mode(place))
            with forks.opening:  # not while the file is made: a slow disk would delay each fork
                forks.register(pieces, partial(os.close, descriptor))
            try:
                try:
                    files.resemble(descriptor, place)
                    for piece in pieces:
                        files.write(descriptor, piece)
                    files.sync(descriptor)
                finally:
                    forks.release(pieces)
                    files.close(descriptor)
                with files.locked(folder):
                    check(self.read_start())
                    files.replace(temporary, place)
            except BaseException:
                with suppress(OSError):
                    files.remove(temporary)
                raise
            files.sync_folder(folder)
        except StorageError:
            raise
        except OSError as error:
            raise _failure(place, "cannot be written", error) from error

    def _place(self) -> str:
        """Where the file really is: a link to it stays a link."""
        return os.path.realpath(self.url)

    def _mode(self, place: str) -> int:
        """The permissions of the file that is there, or the usual ones."""
        try:
            return stat.S_IMODE(os.stat(place).st_mode) & 0o777
        except OSError:
            return 0o666


def _start(name: str) -> str:
    """How the names of temporary files of a file begin."""
    encoded = os.fsencode(name)
    if len(encoded) > _LONGEST_NAME:
        name = hashlib.sha256(encoded).hexdigest()
    return f".{name}."


def _failure(place: str, what: str, error: OSError) -> StorageError:
    failure = StorageError(f"{place}: {what}: {error.strerror or error}")
    failure.errno = error.errno
    return failure
