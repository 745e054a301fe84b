"""The authkey of a rendezvous folder: one file for all groups that meet there.

The key is what its file says at any moment. Peers read it for each handshake, and put it back only
where there is none.
"""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

from .held_file import Files

log = logging.getLogger("memsync.folder")

KEY_BYTES = 32


class AuthKey:
    """The file ``authkey`` in `root`; `scratch` is a folder for the file while it is made."""

    def __init__(self, files: Files, root: Path, scratch: Path) -> None:
        self._files = files
        self._path = root / "authkey"
        self._scratch = scratch

    def read(self) -> bytes:
        """The key; made by whoever needs it first, and again where it is damaged.

        Raises `RendezvousError` when the file is not for this user alone.
        """
        fresh = secrets.token_bytes(KEY_BYTES)
        self._in_place(fresh)
        self._files.check_secret(self._path)
        return self.keep(fresh)

    def keep(self, own: bytes) -> bytes:
        """The key as it is now, for a peer that knows it from before.

        What was deleted or damaged is put back. Where a newcomer was faster with a key of its own,
        that one wins.
        """
        key = self._in_place(own)
        if len(key) != KEY_BYTES:
            self._files.replace(self._path, own)
            log.warning("the key file %s was damaged: it is written again", self._path)
            return own
        return key

    def _in_place(self, if_missing: bytes) -> bytes:
        found = self._files.inspect(self._path)
        if found is None:
            held = self._files.publish(self._path, if_missing, self._scratch)
            if held is not None:
                held.close(remove=False)
            found = self._files.inspect(self._path)
        return found[1] if found is not None else b""
