"""The authkey of a rendezvous folder: one file for all groups that meet there.

The file is authoritative at any moment. Peers read it for each handshake and write it only where it
is missing or damaged.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from ...runtime.logs import Logger
from .held_file import Files

log = Logger("memsync.folder")

KEY_BYTES = 32


class AuthKey:
    """The file ``authkey`` in `root`; it is made under a temporary name in `scratch`."""

    def __init__(self, files: Files, root: Path, scratch: Path) -> None:
        self._files = files
        self.path = root / "authkey"
        self._scratch = scratch

    def read(self) -> bytes:
        """The key, which is made where it is missing or damaged.

        Raises `RendezvousError` when other users can read the file, or one of them owns it.
        """
        fresh = secrets.token_bytes(KEY_BYTES)
        self._read_or_make(fresh)
        self._files.check_secret(self.path)
        return self.keep(fresh)

    def keep(self, own: bytes) -> bytes:
        """The current key, for a peer that has read `own` before.

        A deleted or damaged file is restored from `own`. If a newcomer has already made another
        key, that key wins.
        """
        key = self._read_or_make(own)
        if len(key) != KEY_BYTES:
            self._files.replace(self.path, own)
            log.warning("restored the damaged key file %s", self.path)
            return own
        return key

    def _read_or_make(self, if_missing: bytes) -> bytes:
        found = self._files.inspect(self.path)
        if found is None:
            held = self._files.publish(self.path, if_missing, self._scratch)
            if held is not None:
                held.close(remove=False)
            found = self._files.inspect(self.path)
        return found[1] if found is not None else b""
