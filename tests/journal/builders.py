"""Journals made of lines, as hosts write them, without hosts."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from memsync.document import Operation, apply_patch, encoded_json
from memsync.replication.entries import Entry
from memsync.storage.journal_line import (
    NO_LINE,
    entry_content,
    head_content,
    mark_content,
    sealed,
)
from memsync.storage.segments import Base, Segment, folder_of
from memsync.storage.snapshot_file import Pair, head

CLUSTER = "018c-made"
BEGIN = 1_764_000_000_000  # milliseconds since 1970; each entry is a second later


class MadeJournal:
    """A file and its journal; entry `n` is made at `BEGIN` plus `n` seconds."""

    def __init__(self, folder: Path, data: dict[str, Any], pair: Pair = (1, 0)) -> None:
        self.path = str(folder / "state.json")
        self.folder = folder_of(self.path)
        os.mkdir(self.folder)
        self.data: Any = data
        self.pair = pair
        self.crc = NO_LINE
        self.segments: list[str] = []
        self.objects = {pair[1]: data}
        self._lines = b""
        self._seal = NO_LINE
        self._epoch = pair[0]
        self.save()
        self.base()

    def save(self) -> None:
        """Write the file."""
        Path(self.path).write_bytes(self._text())

    def base(self) -> None:
        """Write a base."""
        name = Base(self.pair[1], self.pair[0]).name
        Path(self.folder, name).write_bytes(self._text())

    def _text(self) -> bytes:
        start = head(CLUSTER, *self.pair, BEGIN + 1000 * self.pair[1])
        return start + bytes(encoded_json(self.data)) + b"}\n"

    def segment(self, epoch: int, number: int = 1, *, after_gap: bool = False) -> None:
        """Begin a segment."""
        self.close()
        self.segments.append(os.path.join(self.folder, Segment(epoch, number).name))
        before = NO_LINE if after_gap else self.crc
        self._seal = before
        self._add(head_content(CLUSTER, self.pair, BEGIN))
        self.pair = (epoch, self.pair[1])
        self._epoch = epoch

    def entry(self, patch: list[Operation] | None, peer: str = "p1", **facts: Any) -> None:
        """Add an entry, a patch or one without."""
        version = self.pair[1] + 1
        stamp = facts.pop("stamp", (BEGIN + 1000 * version) << 16)
        kind = "patch" if patch is not None else facts.pop("kind", "event")
        body = facts.pop("body", None) if patch is None else patch
        entry = Entry(self._epoch, version, peer, 1, stamp, kind, body, event=facts.get("event"))
        self._add(entry_content(entry))
        self.crc = self._seal
        self.pair = (self._epoch, version)
        if patch:
            self.data = apply_patch(self.data, patch)
        self.objects[version] = self.data

    def entries(self, operations: list[Operation]) -> None:
        """Add many entries of one operation each, without the objects."""
        lines = []
        for operation in operations:
            version = self.pair[1] + 1
            stamp = (BEGIN + 1000 * version) << 16
            entry = Entry(self._epoch, version, "p1", 1, stamp, "patch", [operation])
            line, self._seal = sealed(entry_content(entry), self._seal)
            lines.append(line)
            self.pair = (self._epoch, version)
        self.crc = self._seal
        self._lines += b"".join(lines)

    def mark(self) -> None:
        """State that all is durable."""
        self._add(mark_content(self.pair[1]))

    def close(self) -> None:
        """Write the segment."""
        if self._lines:
            Path(self.segments[-1]).write_bytes(self._lines)
        self._lines = b""

    def _add(self, content: bytes | bytearray) -> None:
        line, self._seal = sealed(content, self._seal)
        self._lines += line


def made(folder: Path, drawn: random.Random, *, segments: int = 3, lines: int = 12) -> MadeJournal:
    """A journal of several hosts, closed well, whose file has the newest version."""
    journal = MadeJournal(folder, {"n": 0, "list": [], "in": {"a": 1}})
    epoch = number = 1
    for _ in range(segments):
        journal.segment(epoch, number)
        for _ in range(drawn.randint(2, lines)):
            journal.entry(some_patch(journal.data, drawn))
            if drawn.random() < 0.3:
                journal.mark()
        journal.mark()
        if drawn.random() < 0.5:
            journal.base()
        epoch, number = (epoch, number + 1) if drawn.random() < 0.5 else (epoch + 1, 1)
    journal.close()
    journal.save()
    return journal


def some_patch(data: dict[str, Any], drawn: random.Random) -> list[Operation]:
    """Compiled operations that fit."""
    length = len(data["list"])
    choices: list[Operation] = [
        {"op": "replace", "path": "/n", "value": drawn.randrange(1000)},
        {"op": "add", "path": f"/in/{drawn.choice('abcdef')}", "value": {"v": drawn.random()}},
        {"op": "add", "path": f"/list/{drawn.randint(0, length)}", "value": drawn.choice("xyz")},
    ]
    if length:
        choices.append({"op": "remove", "path": f"/list/{drawn.randrange(length)}"})
    if data["in"]:
        choices.append({"op": "remove", "path": f"/in/{drawn.choice(sorted(data['in']))}"})
    return [drawn.choice(choices)]
