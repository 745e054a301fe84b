"""How long a journal of many lines takes to read, and in how much memory."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

from memsync.document import Operation
from memsync.storage.journal_history import JournalHistory
from memsync.storage.journal_log import JournalLog
from memsync.storage.loading import with_journal
from memsync.storage.snapshot_file import parse

from .builders import MadeJournal

SEGMENT = 20_000  # lines, about what a segment of 4 MiB has


def run(folder: Path, count: int, segment: int = SEGMENT) -> dict[str, Any]:
    """Seconds and megabytes (the highest of this process so far) of each way to read it."""
    journal = MadeJournal(folder, {"n": 0, "in": {str(n): n for n in range(1000)}})
    for number in range(0, count, segment):
        journal.segment(1, number // segment + 1)
        lines: list[Operation] = []
        for at in range(number, min(number + segment, count)):
            lines.append({"op": "replace", "path": f"/in/{at % 1000}", "value": at})
        journal.entries(lines)
        journal.mark()
    journal.close()
    size = sum(Path(each).stat().st_size for each in journal.segments)
    result: dict[str, Any] = {"lines": count, "MB of lines": round(size / 1e6)}
    saved = Path(journal.path).read_bytes()
    for name, read in (
        ("start", lambda: with_journal(parse(saved, journal.path), journal.path)),
        ("check", lambda: JournalHistory(journal.path).runs()),
        ("replay", lambda: JournalHistory(journal.path).object_at(count)),
        ("log --path", lambda: sum(1 for _ in JournalLog(JournalHistory(journal.path), "in.7"))),
    ):
        begin = time.perf_counter()
        read()
        result[f"{name} s"] = round(time.perf_counter() - begin, 1)
        result[f"{name} MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return result
