"""The lock of an epoch, as its holder has it: the file in the folder, and its witness outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .held_file import HeldFile
from .records import encode


class EpochLock:
    """The lock of an epoch and its witness, as its holder has them."""

    def __init__(self, files: list[HeldFile], content: dict[str, Any]) -> None:
        self._held = files
        self._content = content

    def heartbeat(self) -> None:
        """Give a sign of life."""
        for held in self._held:
            held.heartbeat()

    def mark(self, *, is_open: bool) -> None:
        """Say whether survivors of its holder may hold something.

        They may from when the holder is host until it leaves as the last peer.
        """
        self._content["open"] = int(is_open)
        for held in self._held:
            held.rewrite(encode(self._content))

    def repair(self, repaired: Callable[[HeldFile], HeldFile]) -> bool:
        """Make again what somebody deleted; False when somebody else holds the number now."""
        self._held = [repaired(held) for held in self._held]
        return all(held.is_in_place() for held in self._held)

    def close(self) -> None:
        """Free it; what stays tells which numbers were used."""
        for held in self._held:
            held.close(remove=False)
