"""One segment under construction: lines are appended and synced by one thread."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ..errors import StorageError
from .file_layer import FileLayer
from .journal_line import NO_LINE, head_content, mark_content, sealed
from .segments import Segment
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
        self._descriptor = files.create(os.path.join(folder, segment.name), 0o666)
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

    def mark(self, version: int) -> None:
        """State that all up to a version is durable."""
        self.append([mark_content(version)])

    def close(self) -> None:
        self._files.close(self._descriptor)


def next_segment(segments: list[Segment], epoch: int, folder: str) -> Segment:
    """The next segment of an epoch; raises `StorageError` if a later epoch writes here."""
    last = max(segments, default=Segment(0, 0))
    if last.epoch > epoch:
        raise StorageError(
            f"{folder} has a segment of epoch {last.epoch}, this group is at epoch {epoch}: "
            "another group writes there; give one of the two another file.path"
        )
    return Segment(epoch, last.number + 1 if last.epoch == epoch else 1)
