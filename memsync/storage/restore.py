"""Putting an object of a journal in the place of its file.

The object becomes a new version, above all that the file and the journal have. So no line of the
journal leads on from it, a host that was suspended cannot replace it, and the journal stays: what
was undone can still be read. The file is replaced in one step. Whatever ends this early, a
start finds the old object or the restored one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ..clocks import wall_ms
from ..document import encoded_json
from ..errors import StorageError
from .file_layer import FileLayer
from .journal_line import parsed
from .local_file import LocalFile
from .segments import Base, contents, folder_of
from .snapshot_file import Pair, cluster_at, head, pair_at
from .targets import START

_TAIL = 1 << 16
"""Bytes in which the last line of a segment is searched."""


class Restored(NamedTuple):
    """What `restore` has done: the new version, and where the old file and journal are now."""

    pair: Pair
    kept_file: str | None
    kept_journal: str | None


def restore(
    path: str,
    data: dict[str, Any],
    check_unused: Callable[[], None],
    *,
    journal_is_whole: bool,
    files: FileLayer | None = None,
) -> Restored:
    """Put an object in the place of a file, and keep the file beside it.

    A journal that is not whole is moved aside, because no start would accept it. `check_unused`
    raises where a group uses the file; it is called before the first change and before the last.
    Raises `StorageError` if something cannot be written, with nothing changed.
    """
    files = files or FileLayer()
    target = LocalFile(path, files)
    place, folder = os.path.realpath(path), folder_of(path)
    check_unused()
    moment = datetime.fromtimestamp(wall_ms() / 1000, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    found = files.read(place, START)
    epoch, version = _highest(folder, files)
    there = pair_at(found)
    pair = max(epoch, there[0]) + 1, max(version, there[1]) + 1
    kept_file = None
    if found is not None:
        kept_file = f"{place}.{moment}"
        _link(files, place, kept_file)
    cluster_id = cluster_at(found) or _cluster_of(folder, files)

    def check(start: bytes | None) -> None:
        check_unused()
        if start != found:
            raise StorageError(f"{path} was changed meanwhile: nothing was restored, try again")

    text: list[bytes | bytearray] = [head(cluster_id, *pair, wall_ms()), encoded_json(data), b"}\n"]
    target.write(text, check)
    kept_journal = None
    if not journal_is_whole:
        kept_journal = f"{folder}.{moment}"
        os.rename(folder, kept_journal)
        files.sync_folder(os.path.dirname(folder))
    else:
        base = os.path.join(folder, Base(pair[1], pair[0]).name)
        _link(files, place, base)
    return Restored(pair, kept_file, kept_journal)


def _link(files: FileLayer, old: str, new: str) -> None:
    try:
        files.link(old, new)
        files.sync_folder(os.path.dirname(new))
    except OSError as error:
        raise StorageError(f"{new} cannot be written: {error.strerror or error}") from error


def _highest(folder: str, files: FileLayer) -> Pair:
    """An epoch and a version that nothing in a journal exceeds, be it damaged."""
    segments, bases = contents(folder, files)
    epochs, versions = [0], [0]
    for segment in segments:
        epochs.append(segment.epoch)
        text = files.read(os.path.join(folder, segment.name)) or b""
        for line in filter(None, map(parsed, text.split(b"\n"))):
            epochs.append(line.epoch)
            versions.append(max(line.version, line.synced or 0))
    for base in bases:
        epochs.append(base.epoch)
        versions.append(base.version)
    return max(epochs), max(versions)


def _cluster_of(folder: str, files: FileLayer) -> str:
    """The cluster of the last segment that has a head."""
    for segment in reversed(contents(folder, files)[0]):
        start = files.read(os.path.join(folder, segment.name), START) or b""
        line = parsed(start.partition(b"\n")[0])
        if line is not None and line.segment is not None:
            return line.cluster
    return ""
