"""A file at any URL that fsspec knows. It has no fence: fsspec cannot replace on a condition."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import StorageError
from .targets import NONE, START, Check, refusal


class FsspecFile:
    """See `targets.Target`."""

    fencing = NONE

    def __init__(self, url: str, *, fenced: bool) -> None:
        self.url = url
        self._fenced = fenced

    def prepare(self) -> None:
        if self._fenced:
            raise refusal(self.url, "fsspec cannot replace a file on a condition")

    def read(self) -> bytes | None:
        return self._read(None)

    def read_start(self) -> bytes | None:
        return self._read(START)

    def _read(self, most: int | None) -> bytes | None:
        system, path = self._system()
        try:
            data: bytes = system.cat_file(path, end=most)
            return data
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._failure("read", error) from error

    def write(self, pieces: Iterable[bytes | bytearray], check: Check) -> None:
        system, path = self._system()
        data = b"".join(pieces)
        check(self.read_start())
        try:
            # Where a put is not one step, the file is written beside its place and moved there.
            temporary = f"{path}.tmp"
            system.pipe_file(temporary, data)
            system.mv(temporary, path)
        except Exception as error:
            raise self._failure("written", error) from error

    def _system(self) -> tuple[Any, str]:
        try:
            import fsspec
        except ModuleNotFoundError as error:
            raise StorageError(
                f"file.path {self.url!r} needs fsspec: pip install 'memsync[fsspec]'"
            ) from error
        try:
            system, path = fsspec.core.url_to_fs(self.url)
        except Exception as error:  # an unknown scheme, or a library that is not installed
            raise StorageError(f"file.path {self.url!r}: {error}") from error
        return system, path

    def _failure(self, what: str, error: Exception) -> StorageError:
        return StorageError(f"{self.url}: cannot be {what}: {type(error).__name__}: {error}")
