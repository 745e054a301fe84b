"""The bases of a journal, and the removal of what is beyond ``journal.keep``.

A base is a second name (a hard link) of a saved file, which later saves replace and never change;
where the file system has no links, it is a copy. It is read back before anything that it covers is
removed. The saver's thread does this after a save.
"""

from __future__ import annotations

import os

from ..clocks import wall
from ..errors import StorageError
from ..options.keep import Keep
from ..runtime.logs import Logger
from .file_layer import FileLayer
from .journal_folder import JournalFolder
from .segments import Base
from .snapshot_file import Pair

log = Logger("memsync.storage")

_DAY = 86_400.0


class Bases:
    """Keeps the bases of the journal of a file; there are `gap` bytes of lines between two."""

    def __init__(self, path: str, keep: Keep, gap: int, files: FileLayer | None = None) -> None:
        self.error: str | None = None
        self._path = os.path.realpath(path)
        self._keep = keep
        self._gap = gap
        self._files = files or FileLayer()
        self._checked = False  # this process has made a base, and read it back

    def saved(self, pair: Pair, crc: int, *, begins: bool) -> None:
        """The file was saved at a pair, and `crc` is the CRC-32 of its bytes.

        With `begins`, lines follow it that no earlier base leads to. An error is logged, and what
        failed is tried again after a later save.
        """
        base = Base(pair[1], pair[0])
        try:
            folder = JournalFolder(self._path, self._files)
            if begins:
                self._files.make_folder(folder.path)
            if begins or (folder.segments and self._wants_base(folder)):
                folder = self._make_base(folder, base, crc)
            self._prune(folder, base, crc)
            self.error = None
        except (OSError, StorageError) as error:
            if self.error is None:
                log.error("the journal of %s is not pruned: %s", self._path, error)
            self.error = str(error)

    def _wants_base(self, folder: JournalFolder) -> bool:
        """Whether there is no base, or many bytes follow the last one."""
        if not folder.bases:
            return True
        last = folder.bases[-1].version
        heads = ((n, folder.head(n).version) for n in range(len(folder.segments)))
        behind = sum(self._size(folder, folder.segments[n]) for n, v in heads if v >= last)
        return behind >= max(self._gap, self._files.size(self._path))

    def _make_base(self, folder: JournalFolder, base: Base, crc: int) -> JournalFolder:
        """The folder with a new base, which was read back."""
        if base not in folder.bases:
            path = folder.path_of(base)
            self._files.link(self._path, path)
            if self._files.checksum(path) != crc:
                self._files.remove(path)
                raise StorageError(f"{self._path} is not what was saved: is it changed by others?")
            self._files.sync_folder(folder.path)
        self._checked = True
        return JournalFolder(self._path, self._files)

    def _prune(self, folder: JournalFolder, now: Base, crc: int) -> None:
        """Remove the oldest segments and bases, as long as they are beyond the limits."""
        while self._is_beyond(folder):
            if not self._checked or len(folder.bases) < 2:
                count = len(folder.bases)
                folder = self._make_base(folder, now, crc)
                if len(folder.bases) < 2 or len(folder.bases) == count:
                    return  # all that is there is needed
            oldest, following = folder.bases[:2]
            for n, segment in enumerate(folder.segments[:-1]):
                if folder.head(n + 1).version <= following.version:
                    self._files.remove(folder.path_of(segment))
            self._files.remove(folder.path_of(oldest))
            self._files.sync_folder(folder.path)
            folder = JournalFolder(self._path, self._files)

    def _is_beyond(self, folder: JournalFolder) -> bool:
        keep, files = self._keep, [*folder.segments, *folder.bases]
        if keep.bytes is not None and sum(self._size(folder, f) for f in files) > keep.bytes:
            return len(folder.segments) > 1 or len(folder.bases) > 1
        if keep.days is None or len(folder.segments) < 2:
            return False
        # The last line of a segment that is not the last one is older than the next segment.
        changed_at = self._files.changed_at(folder.path_of(folder.segments[0]))
        return changed_at < wall() - keep.days * _DAY

    def _size(self, folder: JournalFolder, file: object) -> int:
        return self._files.size(folder.path_of(file))  # type: ignore[arg-type]
