"""Where a new host joins its log to the journal that former hosts have left."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import StorageError
from ..replication.log import Log
from ..runtime.logs import Logger
from .file_layer import FileLayer
from .journal_folder import JournalFolder
from .journal_line import NO_LINE
from .snapshot_file import Pair, cluster_at, pair_at
from .targets import START

log = Logger("memsync.storage")


class Joint(NamedTuple):
    """A line of the journal whose pair the log holds as well."""

    pair: Pair
    crc: int  # of that line
    counts: bool  # whether a file and durable lines lead there


def joint(path: str, held: Log, files: FileLayer) -> Joint:
    """The last durable line at a pair that the log holds.

    What the last host has written and not marked may be lost although it can be read: it is written
    again, from the log. Where the log does not reach the journal, there is a gap before its oldest
    entry.
    """
    base = held.base_version
    pair = held.epoch_at(base) or 0, base
    try:
        folder = JournalFolder(path, files)
        at = len(folder.segments) - 1
        found = _held_lines(folder, at, held) if at >= 0 else None
        if found is not None:
            if found.counts and _reaches(folder, at, held, path, files):
                return found
            pair = found.pair
    except (StorageError, OSError) as error:
        log.error("the journal begins behind a gap: %s", error)
    # Where a crash may take the line, nothing may rest on its being there.
    return Joint(pair, NO_LINE, counts=False)


def _held_lines(folder: JournalFolder, at: int, held: Log) -> Joint | None:
    head = folder.head(at)
    lines = folder.lines(at)
    common = [
        Joint(line.pair, int(line.crc if line.is_entry else line.before, 16), counts=True)
        for line in lines
        if line.synced is None and held.epoch_at(line.version) == line.epoch
    ]
    durable = [each for each in common if each.pair[1] <= max(lines.synced, head.version)]
    if durable:
        return durable[-1]
    return common[0]._replace(counts=False) if common else None


def _reaches(folder: JournalFolder, at: int, held: Log, path: str, files: FileLayer) -> bool:
    """Whether the file is at a pair from which the segments lead here.

    It may be older than their beginning. It may also hold what the last host has saved, and neither
    journalled nor sent to the peers that live: then the history of the group has left it.
    """
    while at > 0 and int(folder.head(at).before, 16) != NO_LINE:
        at -= 1
    start = files.read(path, START)
    pair = pair_at(start)
    if start is None or pair < folder.head(at).pair or folder.is_others(pair, cluster_at(start)):
        return False
    return _is_held(held, pair) or folder.contains(pair)


def _is_held(held: Log, pair: Pair) -> bool:
    return held.epoch_at(pair[1]) == pair[0]
