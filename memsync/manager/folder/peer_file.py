"""A peer's place in the rendezvous folder: the file that it holds while it lives, and the key.

Other peers judge by the file whether the peer lives (see `folder`). The peer restores what somebody
deletes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import MemSyncError, RendezvousError, StorageError
from ...options import Options
from ...runtime.logs import Logger
from ...runtime.native import Lock, get_ident
from ..timing import TIMING
from .cleaning import clean_if_deserted
from .folder import ObjectFolder
from .held_file import Files, HeldFile
from .records import encode

log = Logger("memsync.node")


class PeerPlace:
    """The place of one peer; raises `RendezvousError` if the folder cannot be used."""

    def __init__(
        self, root: Path, name: str, peer: str, pid: int, options: Options, files: Files
    ) -> None:
        self._peer = peer
        self._pid = pid
        self._options = options
        self._epoch = 0
        self._stands_by = options.on_max_writers == "wait"
        self._reported = ""  # the last error that `repair_or_log` logged
        self._lock = Lock()  # of the file: any thread may begin a long step
        self._is_closed = False
        self._steps: dict[int, float] = {}  # seconds that each thread's long step may take
        self.blocked_reason: str | None = None  # why there is no host for long
        self._storage: dict[str, Any] | None = None  # what a host saves, and where
        self.folder: ObjectFolder
        self.authkey: bytes
        self._file: HeldFile
        for attempt in range(TIMING.folder_attempts):
            try:
                self.folder = ObjectFolder(root, name, files)
                self.authkey = self.folder.key.read()
                self._file = self.folder.publish_peer(peer, self._facts())
                return
            except RendezvousError as error:
                if not was_deleted(error) or attempt == TIMING.folder_attempts - 1:
                    raise

    def repair(self) -> None:
        """Restore the peer's file if somebody deleted it, perhaps with the folder."""
        with self._lock:
            self._file = self.folder.repaired(self._file)

    def is_whole(self) -> bool:
        """Whether the peer's file is in its place; not while another process holds its name."""
        return self._file.is_in_place()

    def paths(self) -> list[Path]:
        """What a change of this place, or a later lock, gives another stamp."""
        return [self.folder.path, self._file.path, self.folder.key.path]

    def repair_key(self) -> None:
        """Restore the key if somebody deleted it."""
        self.authkey = self.folder.key.keep(self.authkey)

    def repair_or_log(self, repair: Callable[[], bool]) -> bool:
        """Call `repair`; an error is logged once, and a later call tries again.

        Returns whether all is in order. A connected peer does not need the missing files.
        """
        try:
            is_whole = repair()
            self._reported = ""
            return is_whole
        except MemSyncError as error:
            if str(error) != self._reported:
                log.error("cannot repair the rendezvous folder: %s", error)
            self._reported = str(error)
            return False

    def key(self) -> bytes:
        """The folder's current key, for a handshake (on its thread)."""
        try:
            return self.folder.key.keep(self.authkey)
        except MemSyncError as error:
            log.debug("using the last known key: %s", error)
            return self.authkey

    def state_epoch(self, epoch: int) -> None:
        """Record in the file that this peer may hold a state, before it does."""
        self._epoch = epoch
        self._rewrite()

    def take_place(self, epoch: int) -> bool:
        """Record that this peer, which has stood by, takes the writer's place that a host gives.

        False if the host of a later epoch may not know of it. A candidate takes its lock first and
        then reads the files of those that do not report; this peer writes first and looks then.
        """
        self._stands_by = False
        self._rewrite()
        self._stands_by = self.folder.is_over(epoch)
        if self._stands_by:
            self._rewrite()
        return not self._stands_by

    def begin_step(self, seconds: float) -> None:
        """Record that this peer may be silent for some seconds, because it applies a large write.

        The others then do not take it for suspended (any thread; see `ObjectFolder.long_step`).
        """
        me = get_ident()
        self._steps[me] = self._steps.get(me, 0.0) + seconds
        self._rewrite()

    def end_step(self) -> None:
        """The calling thread has ended its long step, if it had begun one."""
        if self._steps.pop(get_ident(), None) is not None:
            self._rewrite()

    def publish_blocked_reason(self, blocked_reason: str | None) -> None:
        """Record why this peer has no host, in its status and its file; None when it has one."""
        if blocked_reason != self.blocked_reason:
            self.blocked_reason = blocked_reason
            self._rewrite()

    def publish_storage(self, storage: dict[str, Any] | None) -> None:
        """Record where this host saves, and the error that prevents it (any thread)."""
        self._storage = storage
        self._rewrite()

    def close(self, *, remove: bool) -> None:
        """Free the file; a file that stays and is free shows that the peer has gone."""
        with self._lock:
            self._is_closed = True
            self._file.close(remove=remove)

    def clean_as_the_last(self, epoch: int) -> None:
        """Remove the files of all peers if this was the last one."""
        try:
            clean_if_deserted(self.folder, epoch)
        except (MemSyncError, OSError) as error:  # the next host cleans
            log.debug("cannot clean the folder: %s", error)

    def _rewrite(self) -> None:
        with self._lock:
            if not self._is_closed:
                self._file.rewrite(encode(self._facts()))

    def _facts(self) -> dict[str, Any]:
        options = self._options
        return {
            "id": self._peer,
            "pid": self._pid,
            "roles": list(options.peer.roles),
            "maxWriters": options.network.max_writers,
            "clientOnly": options.client_only,
            "serverOnly": options.server_only,
            "epoch": self._epoch,
            "standsBy": self._stands_by,
            "obstacle": self.blocked_reason,
            "storage": self._storage,
            "longStep": sum(list(self._steps.values())),
        }


def was_deleted(error: BaseException) -> bool:
    """Whether the cause of an error is that somebody deleted the folder meanwhile."""
    is_of_folder = not isinstance(error, StorageError)
    return is_of_folder and isinstance(error.__cause__, FileNotFoundError)
