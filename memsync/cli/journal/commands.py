"""``memsync replay``, ``log`` and ``restore``."""

from __future__ import annotations

import json
from typing import Any

from ...document import MISSING, difference
from ...errors import StorageError
from ...options import check_path
from ...storage.journal_history import JournalHistory, Replay
from ...storage.journal_log import JournalLog, Logged
from ...storage.restore import restore
from ..output import compact
from .arguments import chosen, failed, moment, print_notes, shown, version_of
from .in_use import check_unused


def print_replay(
    file: str, at: str | None, until: str | None, *, diff: bool, as_json: bool
) -> None:
    """Print the object at a version or a time, or what has changed since then."""
    try:
        history = JournalHistory(file)
        saved = chosen(history, at, until)
        assert saved.data is not None
        if not as_json:
            print_notes(history)
        if not diff:
            facts = _facts(saved.pair, saved.timestamp, saved.data)
            print(
                compact(facts) if as_json else json.dumps(saved.data, indent=2, ensure_ascii=False)
            )
            return
        newest = history.object_at()
    except StorageError as error:
        raise failed(error) from error
    operations = difference(saved.data, newest.data)
    if as_json:
        print(compact({"from": saved.pair[1], "to": newest.pair[1], "patch": operations}))
        return
    print(f"from version {saved.pair[1]} ({moment(saved.timestamp)}) to {newest.pair[1]}:")
    replay = Replay(saved.data)
    for operation in operations:
        pointer, new = operation["path"], operation.get("value", MISSING)
        is_new = operation["op"] == "add" and replay.is_in_array(pointer)
        old = MISSING if is_new else replay.value_at(pointer)
        print(f"{pointer}: {shown(old)} -> {shown(new)}")
        replay.apply_one(operation)


def _facts(pair: tuple[int, int], timestamp: int, data: Any) -> dict[str, Any]:
    return {"epoch": pair[0], "version": pair[1], "timestamp": timestamp, "data": data}


def print_log(file: str, path: str | None, *, as_json: bool) -> None:
    """Print the changes in a journal, the oldest first."""
    if path is not None:
        check_path(path)
    try:
        history = JournalHistory(file)
        for change in JournalLog(history, path):
            print(compact(_as_dict(change)) if as_json else _line(change))
    except StorageError as error:
        raise failed(error) from error
    if not as_json:
        print_notes(history)


def _line(change: Logged) -> str:
    pid = "" if change.pid is None else f" (pid {change.pid})"
    start = f"{change.version}  {moment(change.timestamp)}  {change.peer}{pid}  "
    if change.event is not None:
        return f"{start}event {shown(change.event)}"
    old = shown(change.old) if change.is_known else "?"
    return f"{start}{change.path or 'all'}: {old} -> {shown(change.new)}"


def _as_dict(change: Logged) -> dict[str, Any]:
    facts = change._asdict()
    for name in ("old", "new"):
        if facts[name] is MISSING:
            del facts[name]
    if change.event is None:
        del facts["event"]
    else:
        del facts["path"]
    return facts


def print_restore(file: str, at: str | None, until: str | None, *, as_json: bool) -> None:
    """Put an object of the journal in the place of the file, and say what was done."""
    try:
        is_whole = True
        try:
            history = JournalHistory(file)
            saved = chosen(history, at, until)
        except StorageError:
            if at is None:
                raise
            is_whole = False
            history = JournalHistory(file, leave_out=True)
            saved = history.object_near(version_of(at))
        assert saved.data is not None
        done = restore(file, saved.data, lambda: check_unused(file), journal_is_whole=is_whole)
    except StorageError as error:
        raise failed(error) from error
    if as_json:
        facts = {
            "restored": saved.pair[1],
            "version": done.pair[1],
            "epoch": done.pair[0],
            "kept_file": done.kept_file,
            "kept_journal": done.kept_journal,
        }
        print(compact(facts))
        return
    print_notes(history)
    print(f"{file} has the object of version {saved.pair[1]} again, as version {done.pair[1]}")
    if done.kept_file is not None:
        print(f"the file as it was: {done.kept_file}")
    if done.kept_journal is not None:
        print(f"the damaged journal: {done.kept_journal}")
