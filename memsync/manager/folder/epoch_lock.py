"""The lock of an epoch as its holder has it: a file in the folder, and a witness outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .held_file import HeldFile
from .records import encode


class EpochLock:
    """A held lock file and its witness."""

    def __init__(self, files: list[HeldFile], content: dict[str, Any]) -> None:
        self._held = files
        self._content = content

    def heartbeat(self) -> None:
        """Touch the files (see `ObjectFolder.last_heartbeat`)."""
        for held in self._held:
            held.heartbeat()

    def mark(self, *, is_open: bool) -> None:
        """Record whether the epoch's host may have survivors that hold the object.

        That is so from the moment it opens until it leaves as the last peer.
        """
        self._content["open"] = int(is_open)
        for held in self._held:
            held.rewrite(encode(self._content))

    def repair(self, repaired: Callable[[HeldFile], HeldFile]) -> bool:
        """Restore deleted files; False when another process holds the epoch now."""
        self._held = [repaired(held) for held in self._held]
        return all(held.is_in_place() for held in self._held)

    def close(self) -> None:
        """Free the lock; its files stay, because they show which numbers were used."""
        for held in self._held:
            held.close(remove=False)
