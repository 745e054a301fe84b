"""What the commands on a journal have in common: times, values as text, the newest object."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

from ...document import MISSING
from ...errors import StorageError, UsageError
from ...storage.journal_history import JournalHistory
from ...storage.snapshot_file import SavedObject
from ..failed import Failed

_LONGEST = 80  # characters of a value in a line


def milliseconds(text: str) -> int:
    """A point in time in milliseconds since 1970; local time where it names no zone.

    >>> milliseconds("1970-01-02T00:00:00Z"), milliseconds("1.5")
    (86400000, 1500)
    """
    try:
        return int(float(text) * 1000)
    except (ValueError, OverflowError):
        pass
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise UsageError(
            f"--until {text!r:.40} is no time: write it like 2026-11-29T20:15:00 (local time), "
            "2026-11-29T20:15:00Z, or in seconds since 1970"
        ) from None


def version_of(text: str) -> int:
    """The number in ``--at``.

    >>> version_of("12")
    12
    """
    if not text.isascii() or not text.isdigit():
        raise UsageError(
            f"--at {text!r:.40} is no version: give a number, as 'memsync log' shows it"
        )
    return int(text)


def chosen(history: JournalHistory, at: str | None, until: str | None) -> SavedObject:
    """The object that ``--at`` or ``--until`` names; the newest one without either."""
    if at is not None and until is not None:
        raise UsageError("give --at or --until, not both")
    version = None if at is None else version_of(at)
    return history.object_at(version, None if until is None else milliseconds(until))


def moment(timestamp: int) -> str:
    """Milliseconds since 1970 as a time.

    >>> moment(1)
    '1970-01-01T00:00:00.001Z'
    """
    try:
        at = datetime.fromtimestamp(timestamp / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(timestamp)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{timestamp % 1000:03}Z"


def shown(value: Any) -> str:
    """A value in one line.

    >>> shown({"a": [1]}), shown("x" * 200)[:10]
    ('{"a":[1]}', '"xxxxxxxxx')
    """
    if value is MISSING:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def print_notes(history: JournalHistory) -> None:
    """What is not as it should be, on stderr."""
    for note in history.notes:
        print(f"memsync: note: {note}", file=sys.stderr)
    if history.file_error is not None:
        print(f"memsync: note: {history.file_error}", file=sys.stderr)


def failed(error: StorageError) -> Failed:
    """The error of a command, with the way out."""
    text = str(error)
    if "the journal is damaged" in text:
        text += (
            "; 'memsync restore FILE --at VERSION' with an earlier version puts that object in the "
            "place of the file and moves the journal aside"
        )
    return Failed(text)
