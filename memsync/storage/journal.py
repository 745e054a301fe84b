"""The journal of a host: every entry that it orders, as a line on the disk.

The thread of the host appends entries to a queue. The journal's own thread encodes them, writes
them, and syncs the segment once for all writes that wait at that moment. A write with
``journal=True`` is durable after the sync and a check that this process is still the host, and that
the next host will find the segment.

After an error the segment is never used again, because a sync that succeeds after one that failed
may have lost what was written before. What was not durable goes into a new segment, which follows
the last durable pair. While the disk takes nothing, entries wait in memory, up to `QUEUE_BYTES`.
Beyond that the journal has a gap: it goes on at a later pair, and what follows counts once the
object was saved there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ..clocks import monotonic, wall_ms
from ..errors import RendezvousError, StorageError
from ..replication.codec import HEADER, decode_entry
from ..replication.log import Log
from ..runtime.logs import Logger
from ..runtime.native import get_ident
from ..runtime.own_threads import OwnThread
from ..runtime.participant import Participant
from ..runtime.wakeup import Wakeup
from .file_layer import FileLayer
from .journal_end import Joint, joint
from .journal_line import NO_LINE, entry_content
from .segment_writer import SegmentWriter, check_last, next_segment
from .segments import contents, folder_of
from .snapshot_file import Pair
from .targets import NotHost

log = Logger("memsync.storage")

LINGER = 0.02
"""Seconds until entries are written for which nobody waits."""
SYNC_EVERY = 1.0
"""Seconds until they are synced."""
SEGMENT_BYTES = 1 << 22
"""A larger segment is followed by a new one."""
QUEUE_BYTES = 1 << 26
"""Bytes of entries that may wait for the disk."""
RETRY = 0.5
"""Seconds until the next attempt after an error, doubled each time."""
LONGEST_RETRY = 10.0

_FAILURES = (OSError, StorageError, RendezvousError, NotHost)


class Journal:
    """Journals the entries of one epoch, from `start` to `stop`.

    `may_write` says whether this process is still the host. `durable` is called with a version up
    to which all entries are durable, `needs_save` when the object must be saved before what is
    journalled counts, `reported` when the status has changed. The journal's thread calls them.
    """

    def __init__(
        self,
        participant: Participant,
        path: str,
        epoch: int,
        may_write: Callable[[], bool],
        durable: Callable[[int], None],
        needs_save: Callable[[], None],
        reported: Callable[[], None],
        files: FileLayer | None = None,
    ) -> None:
        self.error: str | None = None
        self.syncs = 0
        self.opened = 0  # segments so far
        self.is_over = False
        self._participant = participant
        self._path = path
        self._folder = folder_of(path)
        self._epoch = epoch
        self._may_write = may_write
        self._durable = durable
        self._needs_save = needs_save
        self._reported = reported
        self._files = files or FileLayer()
        # Written by the host's thread:
        self._queue: deque[bytes | bytearray] = deque()  # frames
        self._appended = 0  # bytes of all frames so far
        self._wanted = 0  # the version up to which somebody waits
        self._waiters = 0  # who came to wait so far
        # By both:
        self._has_gap = False  # frames were dropped
        self._is_awake = False  # the thread is about to take the queue
        self._wake = Wakeup()
        self._saved: Pair | None = None  # by the saver
        self._ends = self._is_clean = False
        self._on_end: Callable[[], None] | None = None
        # By the journal's thread:
        self._taken = self._released = 0  # bytes of the frames taken, and of the durable ones
        self._log: Log | None = None  # as it was at the start, until the journal has joined it
        self._writer: SegmentWriter | None = None
        self._synced: Pair = (0, 0)  # up to here all is durable in the segments
        self._crc = NO_LINE  # of the line at `_synced`
        self._unsynced: list[bytearray] = []  # contents of the lines behind it
        self._last: Pair = (0, 0)  # of the last of them
        self._unsynced_since = 0.0
        self.begins_at: Pair | None = None
        """Until the object is saved at this pair or a later one, no line counts."""
        self._told = 0  # the version that was reported to be durable
        self._served = self._group = 0  # waiters by the last sync, and by that one alone
        self._sync_took = 0.0  # seconds
        self._retry = RETRY
        self._thread = OwnThread(self._run, "memsync-journal")

    # -- other threads ---------------------------------------------------------------------------

    def start(self) -> None:
        """Begin with what the log holds (the host's thread)."""
        self._log = self._participant.log.copy()
        self._thread.start()

    def append(self, frame: bytes | bytearray) -> None:
        """Journal the next entry (the host's thread)."""
        if self._has_gap or self._appended - self._released > QUEUE_BYTES:
            self._has_gap = True
            return
        self._appended += len(frame)
        self._queue.append(frame)
        if not self._is_awake:
            self._is_awake = True
            self._wake.set()

    def want(self, version: int) -> None:
        """Somebody waits until a version is durable (the host's thread)."""
        self._wanted = max(self._wanted, version)
        self._waiters += 1
        self._wake.set()

    def saved(self, pair: Pair) -> None:
        """The object is durable in its file, at a pair (the saver's thread)."""
        self._saved = pair
        self._wake.set()

    def stop(self, *, is_clean: bool, on_end: Callable[[], None] | None = None) -> None:
        """End the thread; if `is_clean`, after all is durable. Does not wait."""
        self._is_clean, self._on_end, self._ends = is_clean, on_end, True
        self._wake.set()

    def join(self, timeout: float) -> None:
        """Wait for the end of the thread (seconds)."""
        if self._thread.ident not in (None, get_ident()):
            self._thread.join(timeout)

    def status(self) -> dict[str, Any]:
        """The part of the status that is about the journal."""
        return {
            "folder": self._folder,
            "synced_version": self._synced[1],
            "syncs": self.syncs,
            "error": self.error,
        }

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._ends:
                self._turn()
            if self._is_clean:
                self._finish()
        except Exception:
            log.exception("the journal of %s has ended", self._participant.name)
            self._note("the journal has ended: see the log")
        finally:
            self.is_over = True
            self._close_segment()
            if self._on_end is not None:
                self._on_end()

    def _turn(self) -> None:
        """Write what has come, sync it if it is time, and wait for more."""
        try:
            delay = self._advance()
        except _FAILURES as error:
            self._failed(error)
            self._sleep(self._retry)
            self._retry = min(2 * self._retry, LONGEST_RETRY)
            return
        if not self._ends:
            self._wake.wait(delay)
        if self._is_awake and self._wanted <= self._synced[1] and not self._ends:
            self._wake.wait(LINGER)  # more may come

    def _advance(self) -> float | None:
        """Returns when to come back at the latest (seconds)."""
        if self._log is not None:
            self._join_log(self._log)
            self._log = None
        if self._wanted > self._synced[1]:
            self._gather()
        self._is_awake = False
        waiters = self._waiters
        self._write()
        if self._unsynced and (self._wanted > self._synced[1] or self._delay() <= 0):
            self._sync()
            self._served, self._group = waiters, waiters - self._served
        self._report()
        return self._delay() if self._unsynced else None

    def _gather(self) -> None:
        """Wait a moment for those that the last sync has served: they are about to write again."""
        until = monotonic() + self._sync_took / 2
        while self._waiters - self._served < self._group and not self._ends:
            if (left := until - monotonic()) <= 0:
                return
            self._wake.wait(left)

    def _delay(self) -> float:
        return self._unsynced_since + SYNC_EVERY - monotonic()

    def _sleep(self, seconds: float) -> None:
        """Wait that long, or for the end."""
        until = monotonic() + seconds
        while not self._ends and (left := until - monotonic()) > 0:
            self._wake.wait(left)

    def _failed(self, error: Exception) -> None:
        """What was not durable goes to another segment.

        The files of a host may be missing for a moment, because somebody has deleted them. If there
        is another host, the role of this one ends, and with it this journal.
        """
        self._close_segment()
        if not isinstance(error, NotHost):
            self._note(self._reason(error))

    def _finish(self) -> None:
        try:
            self._advance()
            if self._unsynced:
                self._sync()
        except _FAILURES as error:
            self._failed(error)
        self._report()

    # -- where it begins -------------------------------------------------------------------------

    def _join_log(self, held: Log) -> None:
        """Go on behind what is durable, with the entries of the log."""
        found = joint(self._path, held, self._files)
        self._follow(found)
        history = held.history(found.pair[1])
        for body in history.bodies if history else ():
            self._add(body)
        if not found.counts:
            self._begin_at(found.pair)  # a new host saves anyway

    def _follow(self, found: Joint) -> None:
        self._synced = self._last = found.pair
        self._crc = found.crc

    def _skip(self) -> None:
        """Go on behind all that was ordered until now."""
        self._close_segment()
        self._queue.clear()
        self._unsynced.clear()
        self._taken = self._released = self._appended
        self._has_gap = False
        with self._participant.guard:
            pair = self._participant.state.pair
        self._follow(Joint(pair, NO_LINE, counts=False))
        self._begin_at(pair)
        self._needs_save()

    def _begin_at(self, pair: Pair) -> None:
        self.begins_at = pair

    # -- lines -----------------------------------------------------------------------------------

    def _write(self) -> None:
        """Append what has come to the segment."""
        have = len(self._unsynced)
        while self._queue:
            frame = self._queue.popleft()
            self._taken += len(frame)
            self._add(memoryview(frame)[HEADER:])
        if self._has_gap:
            log.error("the journal %s has a gap behind %s", self._folder, self._last)
            self._skip()
        if not self._unsynced:
            return
        if self._writer is None:
            self._open_segment()
            have = 0
        assert self._writer is not None
        self._writer.append(self._unsynced[have:])

    def _add(self, body: bytes | memoryview) -> None:
        """Encode an entry, unless the journal has it."""
        entry = decode_entry(body)
        if entry.version <= self._last[1]:
            return
        if entry.version > self._last[1] + 1:
            self._has_gap = True  # the queue was full, or its thread interrupted
        if self._has_gap:
            return
        if not self._unsynced:
            self._unsynced_since = monotonic()
        self._unsynced.append(entry_content(entry))
        self._last = entry.epoch, entry.version

    def _open_segment(self) -> None:
        if not self._may_write():
            raise NotHost
        files, folder = self._files, self._folder
        files.make_folder(folder)
        cluster_id = self._participant.state.cluster_id
        segment = next_segment(files, folder, self._epoch, cluster_id)
        self._writer = SegmentWriter(
            files, folder, segment, cluster_id, self._synced, self._crc, wall_ms()
        )
        self.opened += 1

    def _sync(self) -> None:
        """Make all lines durable; raises `NotHost` or `StorageError` if they do not count."""
        writer = self._writer
        assert writer is not None
        began = monotonic()
        writer.sync()
        self._sync_took = monotonic() - began
        self.syncs += 1
        segments = contents(self._folder, self._files)[0]
        if not self._may_write():
            raise NotHost
        check_last(segments, self._epoch, self._folder)
        if not writer.is_in_place():
            log.error("the journal %s was removed: it goes on behind a save", self._folder)
            self._skip()
            return
        self._synced, self._crc = self._last, writer.crc
        self._unsynced.clear()
        self._released = self._taken
        self._retry = RETRY
        self._note(None)
        writer.mark(self._synced[1])
        if writer.size > SEGMENT_BYTES:
            self._close_segment()

    def _close_segment(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _report(self) -> None:
        """Report what is durable by now.

        An entry that is in the file alone does not count: a new host reads the journal.
        """
        saved, begins_at = self._saved, self.begins_at
        if begins_at is not None and saved is not None and saved >= begins_at:
            self.begins_at = begins_at = None
        if begins_at is None and self._synced[1] > self._told:
            self._told = self._synced[1]
            self._durable(self._told)

    def _reason(self, error: Exception) -> str:
        """What is wrong, and where; a `StorageError` names the place itself."""
        if isinstance(error, OSError) and not isinstance(error, StorageError):
            return f"{self._folder}: cannot be written: {error.strerror or error}"
        return str(error)

    def _note(self, error: str | None) -> None:
        """Set the error; a change of it is logged and reported."""
        had, self.error = self.error, error
        if error is not None and error != had:
            log.error("cannot journal %s, trying again: %s", self._participant.name, error)
        elif error is None and had is not None:
            log.info("journalling again %s", self._participant.name)
        if error != had:
            self._reported()
