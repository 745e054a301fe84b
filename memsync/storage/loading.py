"""Loading: what the founder of an object finds in its file and its journal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from ..document import replay
from ..errors import ProtocolError, StorageError, UpdateError
from ..options.load import is_url
from ..replication.entries import Entry
from ..runtime.logs import Logger
from ..runtime.own_threads import OwnThread
from ..runtime.participant import Participant
from .file_layer import FileLayer
from .journal_folder import JournalFolder
from .journal_line import entry_of
from .open_target import open_target
from .saver import target_of
from .snapshot_file import NOTHING, Pair, SavedObject, cluster_at, pair_at, parse

log = Logger("memsync.storage")

T = TypeVar("T")


def load(participant: Participant) -> SavedObject:
    """What the founder's file and journal hold; `NOTHING` where there is no file yet.

    Raises `StorageError` for what cannot be read, and for a place that has no fence.
    """
    options = participant.options.file
    if options.path is None:
        return NOTHING
    target = open_target(options.path, fenced=options.fencing != "off")
    target.prepare()
    text = target.read()
    saved = NOTHING if text is None else parse(text, target.url)
    if is_url(options.path):
        return saved
    return with_journal(saved, options.path, cluster_id=cluster_at(text))


def is_newer(participant: Participant) -> bool:
    """Whether the group's file has this object at a later version than this copy."""
    target = target_of(participant)
    start = target.read_start() if target is not None else None
    replica = participant.replica
    return cluster_at(start) == replica.cluster_id and pair_at(start) > replica.pair


def saved_by(participant: Participant) -> SavedObject:
    """What the group's file holds; raises `StorageError`."""
    target = target_of(participant)
    text = target.read() if target is not None else None
    return NOTHING if target is None or text is None else parse(text, target.url)


def with_journal(
    saved: SavedObject, path: str, files: FileLayer | None = None, cluster_id: str = ""
) -> SavedObject:
    """A saved object with the entries of the journal beside it that lead on from there.

    `cluster_id` is that of the file; empty if it has none.
    """
    folder = JournalFolder(path, files)
    if saved.data is None:
        if folder.bases:  # there was a file
            raise StorageError(
                f"{path} is missing, and its journal {folder.path} is there: put an object of the "
                f"journal in its place with 'memsync restore {path}', or move the journal away to "
                "begin with a new object"
            )
        return saved
    pair = saved.pair
    if folder.is_others(pair, cluster_id):
        log.warning("%s is the journal of another object than %s: not read", folder.path, path)
        return saved
    for line in folder.after(pair):
        try:
            replay(saved.data, line.patch or [])
        except UpdateError as error:
            raise StorageError(
                f"{folder.path}: version {line.version} does not fit the file {path}: {error}"
            ) from error
        pair = line.pair
    _warn_of_cut(folder)
    return saved._replace(pair=pair)


def journalled(
    path: str, pair: Pair, cluster_id: str, files: FileLayer | None = None
) -> list[Entry]:
    """The entries of a group that the journal of its file has behind a pair."""
    folder = JournalFolder(path, files, cluster_id)
    if folder.last_version() <= pair[1]:
        return []
    try:
        entries = [entry_of(line) for line in folder.after(pair)]
    except ProtocolError as error:
        raise StorageError(f"{folder.path}: {error}") from error
    _warn_of_cut(folder)
    reached = entries[-1].version if entries else pair[1]
    if folder.segments and folder.head(-1).version > reached:
        log.error("%s has a gap behind version %s: what follows is lost", folder.path, reached)
    return entries


def _warn_of_cut(folder: JournalFolder) -> None:
    if folder.cut is not None:
        path, cut = folder.cut
        log.warning("%s ends in line %s, which is torn: %s", path, cut.line, cut.why)


class Reading(Generic[T]):
    """Calls `read` on a thread of its own, which calls `on_end` at its end."""

    def __init__(self, read: Callable[[], T], on_end: Callable[[], None]) -> None:
        self.is_over = False
        self._read = read
        self._on_end = on_end
        self._found: list[T] = []
        self._error: BaseException | None = None
        OwnThread(self._run, "memsync-loading").start()

    def _run(self) -> None:
        try:
            self._found.append(self._read())
        except BaseException as error:
            self._error = error
        self.is_over = True
        self._on_end()

    def result(self) -> T:
        """What `read` returns or raises."""
        if self._error is not None:
            raise self._error
        return self._found[0]
