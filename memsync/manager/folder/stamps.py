"""Whether the rendezvous folder is as it was when a peer last found it in order.

A peer checks the folder about once a second, and most checks would find what the last one found.
So a peer first compares *stamps*: a name that appears or goes changes the stamp of its folder, and
what is written to a file changes that of the file.

Changes within one tick of the file system's clock leave one stamp. A stamp therefore counts only
when the peer has seen it for longer than such a tick, on its own clock: what changes after that
gets another one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from .held_file import Files, Stamp


class FolderStamps:
    """The stamps of some paths, as one peer sees them (its driver only).

    A tick of the file system's clock takes fewer than `settling` seconds.
    """

    def __init__(self, files: Files, paths: Iterable[Path], settling: float) -> None:
        self._files = files
        self._paths = [os.fspath(path) for path in paths]
        self._settling = settling
        self._seen: list[Stamp | None] = []
        self._since = 0.0  # when they were seen first (monotonic seconds)
        self._is_settled = False
        self._is_in_order = False

    def are_in_order(self, now: float) -> bool:
        """Whether nothing has changed since `found_in_order` (monotonic seconds)."""
        found = [self._files.stamp(path) for path in self._paths]
        if found != self._seen:
            self._seen, self._since = found, now
            self._is_settled = self._is_in_order = False
        elif not self._is_settled:
            self._is_settled = now - self._since >= self._settling and None not in found
        return self._is_in_order

    def found_in_order(self) -> None:
        """All was in order after the last call of `are_in_order`."""
        self._is_in_order = self._is_settled
