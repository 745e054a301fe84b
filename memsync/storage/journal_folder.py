"""Reading a journal: the entries that lead on from a pair, through all segments."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import StorageError
from .file_layer import FileLayer
from .journal_line import HEAD_BYTES, NO_LINE, Line, head_of, parsed
from .segments import Base, Cut, Segment, SegmentLines, contents, folder_of
from .snapshot_file import Pair

_TAIL = 1 << 16
"""Bytes in which the last line is searched."""
_UNKNOWN = 1 << 62


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """Turns `OSError` into `StorageError`."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error


class JournalFolder:
    """What is in the folder of a file's journal; all methods raise `StorageError`.

    With `cluster_id`, what other groups have written there is left out. With `leave_out`, segments
    whose head is damaged are left out, as torn ones are.
    """

    def __init__(
        self,
        path: str,
        files: FileLayer | None = None,
        cluster_id: str | None = None,
        *,
        leave_out: bool = False,
    ) -> None:
        self.path = folder_of(path)
        self.cut: tuple[str, Cut] | None = None  # the torn tail that `after` met, and its segment
        self._files = files or FileLayer()
        self.segments: list[Segment] = []  # those that begin with a head
        self.bases: list[Base] = []
        self._heads: list[Line] = []
        with _reading(self.path):
            segments, self.bases = contents(self.path, self._files)
            for each in segments:
                head = head_of(self._files.read(self.path_of(each), HEAD_BYTES))
                if head is not None:
                    if cluster_id in (None, head.cluster):
                        self.segments.append(each)
                        self._heads.append(head)
                elif not leave_out:  # torn, unless something in it was durable
                    for _ in SegmentLines(
                        self.path_of(each), self._files.read(self.path_of(each)) or b""
                    ):
                        pass

    def path_of(self, segment: Segment | Base) -> str:
        return os.path.join(self.path, segment.name)

    def head(self, index: int) -> Line:
        """The head of the segment at an index."""
        return self._heads[index]

    def lines(self, index: int) -> SegmentLines:
        """The lines of the segment at an index."""
        path = self.path_of(self.segments[index])
        with _reading(path):
            return SegmentLines(path, self._files.read(path) or b"")

    def last_version(self) -> int:
        """The version in the last whole line of the last segment; 0 without any."""
        if not self.segments:
            return 0
        path = self.path_of(self.segments[-1])
        with _reading(path):
            tail = self._files.tail(path, _TAIL)
        for text in reversed(tail.split(b"\n")):
            line = parsed(text)
            if line is not None:
                return line.version if line.synced is None else line.synced
        return _UNKNOWN

    def end_of(self, index: int) -> int | None:
        """The version up to which the segment at an index counts; None: to its end."""
        return min((head.version for head in self._heads[index + 1 :]), default=None)

    def is_others(self, pair: Pair, cluster_id: str) -> bool:
        """Whether a pair of a group is of another object, whose epochs have the same numbers."""
        heads = zip(self.segments, self._heads, strict=True)
        clusters = {head.cluster for segment, head in heads if segment.epoch == pair[0]}
        return bool(cluster_id and clusters) and cluster_id not in clusters

    def contains(self, pair: Pair) -> bool:
        """Whether the history of the segments leads through a pair, as far as it is here."""
        at = [n for n, head in enumerate(self._heads) if head.version <= pair[1]]
        if not at:
            return False
        return any(line.pair == pair for line in self._counting(at[-1]))

    def after(self, pair: Pair) -> Iterator[Line]:
        """The entries that lead on from a pair; none if the journal does not lead there.

        Ends at the torn tail of the last segment (see `cut`), and before a segment behind a gap:
        a file leads on from there, which was saved before anything in that segment counted.
        """
        self.cut = None
        at = [n for n, head in enumerate(self._heads) if head.version <= pair[1]]
        if not at:
            return
        last: Line | None = None  # the last entry, or the head before it
        for index in range(at[-1], len(self.segments)):
            if last is not None and not self.leads_on(index, last):
                return
            for line in self._counting(index):
                if line.version == pair[1] and line.epoch != pair[0]:
                    return  # another history
                last = line
                if line.is_entry and line.version > pair[1]:
                    yield line
            if last is None or last.version < pair[1]:
                return

    def _counting(self, index: int) -> Iterator[Line]:
        """The head and the entries of a segment, as far as they count."""
        end, lines = self.end_of(index), self.lines(index)
        for line in lines:
            if line.synced is not None:
                continue
            if end is not None and line.version > end:
                return
            yield line
        if lines.cut is not None and end is None:
            self.cut = lines.path, lines.cut

    def leads_on(self, index: int, last: Line) -> bool:
        """Whether a segment follows a line; False behind a gap."""
        head = self._heads[index]
        before = int(head.before, 16)
        if head.version > last.version and before == NO_LINE:
            return False
        crc = int(last.before if last.segment is not None else last.crc, 16)
        if head.pair != last.pair or before not in (NO_LINE, crc):
            raise StorageError(
                f"{self.path_of(self.segments[index])} follows version {head.version} of epoch "
                f"{head.epoch}: the journal is damaged: the line of that version is not at the end "
                f"of the segment before it, which ends with version {last.version}"
            )
        return True
