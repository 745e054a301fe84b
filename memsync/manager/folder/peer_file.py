"""A peer's place in the rendezvous folder: its own file, held while it lives, and the key.

Others judge by the file whether the peer lives (see `folder`). What somebody deletes of it is made
again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import MemSyncError, RendezvousError
from ...options import Options
from ..timing import TIMING
from .cleaning import clean_if_deserted
from .folder import ObjectFolder
from .held_file import Files, HeldFile
from .records import encode

log = logging.getLogger("memsync.node")


class PeerPlace:
    """The place of one peer; raises `RendezvousError` where the folder cannot be used."""

    def __init__(
        self, root: Path, name: str, peer: str, pid: int, options: Options, files: Files
    ) -> None:
        self._peer = peer
        self._pid = pid
        self._options = options
        self._epoch = 0
        self._reported = ""  # what was logged as not repairable
        self.blocked_reason: str | None = (
            None  # why there is no host, for longer than elections take
        )
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
        """Make the peer's file again if somebody deleted it, perhaps with the folder."""
        self._file = self.folder.repaired(self._file)

    def repair_key(self) -> None:
        """Put the key back if somebody deleted it."""
        self.authkey = self.folder.key.keep(self.authkey)

    def repair_or_log(self, repair: Callable[[], None]) -> None:
        """Call `repair`; where that fails the error is logged once, and a later call tries again.

        A peer that is connected does not need what is missing.
        """
        try:
            repair()
            self._reported = ""
        except MemSyncError as error:
            if str(error) != self._reported:
                log.error("cannot repair the rendezvous folder: %s", error)
            self._reported = str(error)

    def key(self) -> bytes:
        """The folder's key at this moment, for a handshake (on its thread)."""
        try:
            return self.folder.key.keep(self.authkey)
        except MemSyncError as error:
            log.debug("the last known key is used: %s", error)
            return self.authkey

    def state_epoch(self, epoch: int) -> None:
        """Say in the own file that this peer may hold something, before it does."""
        self._epoch = epoch
        self._file.rewrite(encode(self._facts()))

    def publish_blocked_reason(self, blocked_reason: str | None) -> None:
        """Say why this peer has no host, in its status and its file; None: it has one."""
        if blocked_reason != self.blocked_reason:
            self.blocked_reason = blocked_reason
            self._file.rewrite(encode(self._facts()))

    def close(self, *, remove: bool) -> None:
        """Give the place up; a file that stays is free, which says that the peer has gone."""
        self._file.close(remove=remove)

    def clean_as_the_last(self, epoch: int) -> None:
        """Peers that go at one time leave files to each other: the last one removes them."""
        try:
            clean_if_deserted(self.folder, epoch)
        except (MemSyncError, OSError) as error:  # the next host does it
            log.debug("nothing was cleaned at the end: %s", error)

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
            "obstacle": self.blocked_reason,
        }


def was_deleted(error: BaseException) -> bool:
    """Whether an error came from somebody deleting the folder at the same time."""
    return isinstance(error.__cause__, FileNotFoundError)
