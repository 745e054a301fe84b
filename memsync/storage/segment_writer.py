"""One segment under construction: lines are appended and synced by one thread."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from ..errors import StorageError
from .file_layer import FileLayer
from .journal_line import HEAD_BYTES, NO_LINE, head_content, head_of, mark_content, sealed
from .segments import Segment, contents
from .snapshot_file import Pair


class SegmentWriter:
    """Opens the file with its head; all methods raise `OSError`, after which it is never used."""

    def __init__(
        self,
        files: FileLayer,
        folder: str,
        segment: Segment,
        cluster_id: str,
        pair: Pair,
        before: int,
        timestamp: int,
    ) -> None:
        self.segment = segment
        self.size = 0  # bytes
        self.crc = NO_LINE  # of the last line
        self._files = files
        self._path = os.path.join(folder, segment.name)
        self._descriptor = files.create(self._path, 0o666)
        try:
            self.append([head_content(cluster_id, pair, timestamp)], before)
            files.sync_folder(folder)
        except BaseException:
            self.close()
            raise

    def append(self, contents: Iterable[bytes | bytearray], before: int | None = None) -> None:
        """Append lines with these contents."""
        crc = self.crc if before is None else before
        lines = bytearray()
        for content in contents:
            line, crc = sealed(content, crc)
            lines += line
        self._files.write(self._descriptor, lines)
        self.size += len(lines)
        self.crc = crc

    def sync(self) -> None:
        """Make what was appended durable."""
        self._files.sync(self._descriptor)

    def is_in_place(self) -> bool:
        """Whether the file has its name; somebody may have removed it."""
        return self._files.is_at(self._descriptor, self._path)

    def mark(self, version: int) -> None:
        """State that all up to a version is durable."""
        self.append([mark_content(version)])

    def close(self) -> None:
        with suppress(OSError):  # what was synced is durable all the same
            self._files.close(self._descriptor)


def next_segment(files: FileLayer, folder: str, epoch: int, cluster_id: str) -> Segment:
    """The next segment of an epoch; raises `StorageError` as `check_last` does."""
    segments = contents(folder, files)[0]
    check_last(segments, epoch, folder)
    last = max(segments, default=Segment(0, 0))
    if last.epoch < epoch:
        return Segment(epoch, 1)
    head = head_of(files.read(os.path.join(folder, last.name), HEAD_BYTES))
    if head is not None and head.cluster != cluster_id:
        raise _others(last, epoch, folder)
    return Segment(epoch, last.number + 1)


def check_last(segments: list[Segment], epoch: int, folder: str) -> None:
    """Raise `StorageError` if a later epoch writes here: nothing of this one counts behind that."""
    last = max(segments, default=Segment(0, 0))
    if last.epoch > epoch:
        raise _others(last, epoch, folder)


def _others(last: Segment, epoch: int, folder: str) -> StorageError:
    return StorageError(
        f"{folder} has a segment of epoch {last.epoch}, this group is at epoch {epoch}: "
        "another group writes there; give one of the two another file.path"
    )
