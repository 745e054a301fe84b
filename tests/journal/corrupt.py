"""Journals that were damaged in every way: each is found, with its segment, line and fault."""

from __future__ import annotations

import random
import re
from pathlib import Path

from memsync.errors import StorageError
from memsync.storage.journal_history import JournalHistory

from .builders import made

WAYS = ("flipped", "lost", "doubled", "swapped", "cut")


def damage(path: Path, way: str, drawn: random.Random) -> int:
    """Damage a segment; the line that is the first wrong one, from 1."""
    text = path.read_bytes()
    lines = text.splitlines(keepends=True)
    # A mark at the end of a segment says nothing that other lines do not say.
    last = len(lines) - (b'"synced":' in lines[-1])
    at = drawn.randrange(last)
    if way == "flipped":
        at = drawn.randrange(len(lines))
        begin = sum(map(len, lines[:at]))
        place = begin + drawn.randrange(len(lines[at]))
        changed = bytearray(text)
        changed[place] ^= 1 << drawn.randrange(8)
        path.write_bytes(changed)
    elif way == "lost":
        path.write_bytes(b"".join(lines[:at] + lines[at + 1 :]))
    elif way == "doubled":
        at = drawn.randrange(len(lines))
        path.write_bytes(b"".join(lines[: at + 1] + lines[at:]))
        at += 1
    elif way == "swapped":
        at = drawn.randrange(len(lines) - 1)
        lines[at], lines[at + 1] = lines[at + 1], lines[at]
        path.write_bytes(b"".join(lines))
    else:
        end = drawn.randrange(sum(map(len, lines[:last])))
        path.write_bytes(text[:end])
        at = text[:end].count(b"\n")
    return at + 1


def found(path: str) -> list[str]:
    """What a reader is told of a journal."""
    try:
        history = JournalHistory(path)
        history.runs()
    except StorageError as error:
        return [str(error)]
    return history.notes


def run(folder: Path, count: int, seed: int) -> dict[str, int]:
    """Damage so many journals; how many were found by way, and by how well they were named."""
    drawn = random.Random(seed)
    result = {way: 0 for way in WAYS} | {"found": 0, "line named": 0, "missed": 0}
    for number in range(count):
        place = folder / f"j{number}"
        place.mkdir()
        journal = made(place, drawn)
        assert found(journal.path) == [], found(journal.path)
        way = WAYS[number % len(WAYS)]
        index = drawn.randrange(len(journal.segments))
        segment = Path(journal.segments[index])
        line = damage(segment, way, drawn)
        told = " ".join(found(journal.path))
        beside = journal.segments[max(index - 1, 0) : index + 2]  # a whole one may tell of it
        if not any(each in told for each in beside):
            result["missed"] += 1
            print(f"MISSED seed={seed} journal={number} {way} {segment.name} line {line}: {told!r}")
            continue
        result[way] += 1
        result["found"] += 1
        result["line named"] += bool(re.search(rf"{re.escape(str(segment))}, line {line}\b", told))
    return result
