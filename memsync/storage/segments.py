"""The folder of a journal: segments of lines, and snapshots from which they lead on.

The journal of ``state.json`` is the folder ``state.json.journal``. A segment is named by the epoch
of the host that writes it and by a number, ``0000000003-0001.jsonl``; only that host opens it. Its
entries follow the pair that its head names, and lead to the pair that the next segment names: what
a host has written behind that counts for nothing, because a later host went on from there. A
*base* is a whole object at one version, in the format of `snapshot_file`, named by its version and
epoch, ``00000000000120-0000000003.json``.

At the end of the last segment, lines may be torn that were written and not yet synced when the
machine went down. Such a tail is cut. It is no tail if a mark stands behind it: then the lines were
durable, and the journal is damaged.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import StorageError
from .file_layer import FileLayer
from .journal_line import NO_LINE, Line, parsed
from .snapshot_file import Pair

_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_SEGMENT = re.compile(r"(\d{10,})-(\d{4,})\.jsonl")
_BASE = re.compile(r"(\d{14,})-(\d{10,})\.json")


class Segment(NamedTuple):
    """A segment by its name; they sort in their order."""

    epoch: int
    number: int

    @property
    def name(self) -> str:
        """
        >>> Segment(3, 1).name
        '0000000003-0001.jsonl'
        """
        return f"{self.epoch:010}-{self.number:04}.jsonl"


class Base(NamedTuple):
    """A base by its name; they sort by version."""

    version: int
    epoch: int

    @property
    def name(self) -> str:
        """
        >>> Base(120, 3).name
        '00000000000120-0000000003.json'
        """
        return f"{self.version:014}-{self.epoch:010}.json"

    @property
    def pair(self) -> Pair:
        return self.epoch, self.version


def folder_of(path: str) -> str:
    """The folder of the journal of a file; of the file itself where the path is a link.

    >>> folder_of("/srv/state.json")
    '/srv/state.json.journal'
    """
    return f"{os.path.realpath(path)}.journal"


def contents(folder: str, files: FileLayer) -> tuple[list[Segment], list[Base]]:
    """The segments and the bases of a folder, in their order; none where there is no folder."""
    try:
        names = files.names(folder)
    except OSError as error:
        if error.errno in _NO_FOLDER:
            return [], []
        raise
    segments = [Segment(int(m[1]), int(m[2])) for name in names if (m := _SEGMENT.fullmatch(name))]
    bases = [Base(int(m[1]), int(m[2])) for name in names if (m := _BASE.fullmatch(name))]
    return sorted(segments), sorted(bases)


class Cut(NamedTuple):
    """Where the torn tail of a segment begins."""

    line: int  # from 1
    offset: int  # bytes
    why: str


class SegmentLines:
    """The lines of one segment: iterate once; each is checked against the one before."""

    def __init__(self, path: str, text: bytes) -> None:
        self.path = path
        self.cut: Cut | None = None  # after the iteration
        self.crc = NO_LINE  # of the last line
        self.synced = 0  # the version in the last mark
        self._text = text

    def __iter__(self) -> Iterator[Line]:
        """Yields head, entries and marks; raises `StorageError` for damage, see `damage`."""
        last: Line | None = None
        at, number = 0, 0
        while at < len(self._text):
            number += 1
            end = self._text.find(b"\n", at)
            line = parsed(self._text[at:end]) if end >= 0 else None
            why = _fault(last, line, self.crc) if end >= 0 else "it has no end"
            if line is None or why:
                self._end_at(Cut(number, at, why), last)
                return
            if line.synced is not None:
                self.synced = line.synced
            else:
                last = line
            self.crc = int(line.crc, 16)
            yield line
            at = end + 1

    def _end_at(self, cut: Cut, last: Line | None) -> None:
        version = 0 if last is None else last.version
        for text in self._text[cut.offset :].split(b"\n"):
            mark = parsed(text)
            if mark is not None and mark.synced is not None and mark.synced >= version:
                raise damage(self.path, cut, last)
        self.cut = cut


def _fault(last: Line | None, line: Line | None, crc: int) -> str:
    """What is wrong with a line behind another one, whose CRC is `crc`; empty if nothing is."""
    if line is None:
        return "its content and its CRC differ"
    if last is None:
        return "" if line.segment is not None else "the head of the segment is missing"
    if line.segment is not None:
        return "it is a second head"
    if int(line.before, 16) != crc:
        if not line.is_entry:
            return "lines before it are missing, doubled or in another order"
        if line.version <= last.version:
            return f"version {line.version} comes after version {last.version}: doubled or swapped"
        return f"version {line.version} does not follow version {last.version}: lines are missing"
    if line.is_entry and line.version != last.version + 1:
        return f"version {line.version} follows version {last.version}"
    return ""


def damage(path: str, cut: Cut, last: Line | None) -> StorageError:
    """The error of a damaged line."""
    good = "no version" if last is None else f"version {last.version}"
    return StorageError(
        f"{path}, line {cut.line}: the journal is damaged: {cut.why}; it is whole up to {good}"
    )
