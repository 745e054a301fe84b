"""Journalled entries of all operations, replayed by `jsonpatch` alone, equal the live object."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memsync import MemSync, MemSyncError
from memsync.storage.journal_history import JournalHistory, Replay

START: dict[str, Any] = {
    "n": 1,
    "f": 1.5,
    "s": "a",
    "o": {"a": {"x": 1}, "b": 2},
    "l": [1, 2, 3],
    "deep": {"l": [{"id": 1, "tags": ["t"]}, {"id": 2, "tags": []}]},
}
_NAMES = ["a", "b", "c", "d", "0", "x/y", "z~"]


def value(drawn: random.Random, depth: int = 2) -> Any:
    """Any JSON value."""
    kind = drawn.randrange(8 if depth else 6)
    if kind == 6:
        return [value(drawn, depth - 1) for _ in range(drawn.randrange(3))]
    if kind == 7:
        return {name: value(drawn, depth - 1) for name in drawn.sample(_NAMES, 2)}
    return [None, True, drawn.randrange(-9, 9), drawn.random(), "text", "Größe"][kind]


def update(drawn: random.Random) -> Any:
    """An update with one or several operators, or RFC 6902 operations; it may not fit."""
    name, index = drawn.choice(_NAMES[:5]), drawn.randrange(4)
    makers: list[Callable[[], Any]] = [
        lambda: {"$set": {f"o.{name}": value(drawn), "s": value(drawn, 0)}},
        lambda: {"$set": {f"deep.l.{index}.id": value(drawn)}},
        lambda: {"$unset": {f"o.{name}": ""}},
        lambda: {"$inc": {"n": drawn.randrange(5)}, "$mul": {"f": drawn.choice([0.5, 2])}},
        lambda: {"$min": {"n": drawn.randrange(50)}, "$max": {"f": drawn.random()}},
        lambda: {"$rename": {f"o.{name}": f"o.{drawn.choice(_NAMES[:5])}"}},
        lambda: {"$currentDate": {"when": True}},
        lambda: {"$bit": {"n": {drawn.choice(["and", "or", "xor"]): drawn.randrange(99)}}},
        lambda: {"$push": {"l": {"$each": [value(drawn)], "$position": index, "$slice": 9}}},
        lambda: {"$push": {"deep.l": {"id": drawn.randrange(9), "tags": []}}},
        lambda: {"$addToSet": {"l": value(drawn, 0)}},
        lambda: {"$pop": {drawn.choice(["l", "deep.l"]): drawn.choice([1, -1])}},
        lambda: {"$pull": {"l": value(drawn, 0)}},
        lambda: {"$pull": {"deep.l": {"id": drawn.randrange(9)}}},
        lambda: {"$pullAll": {"l": [value(drawn, 0), 1]}},
        lambda: {"$set": {f"many.f{drawn.randrange(40)}": n for n in range(40)}},
        lambda: {"$unset": {"many": ""}},
        lambda: [{"op": "add", "path": "/l/-", "value": value(drawn)}],
        lambda: [{"op": "remove", "path": f"/l/{index}"}],
        lambda: [{"op": "replace", "path": f"/o/{name}", "value": value(drawn)}],
        lambda: [{"op": "move", "from": f"/l/{index}", "path": "/l/0"}],
        lambda: [{"op": "copy", "from": f"/o/{name}", "path": f"/o/{drawn.choice('abcd')}"}],
        lambda: [
            {"op": "test", "path": "/n", "value": 1},
            {"op": "add", "path": "/o/x~1y", "value": {}},
            {"op": "add", "path": "/o/x~1y/z~0", "value": index},
        ],
        lambda: [{"op": "replace", "path": "", "value": START}] if drawn.random() < 0.02 else {},
    ]
    return drawn.choice(makers)()


def run(folder: Path, count: int, seed: int, engine: str = "memory") -> dict[str, Any]:
    """Journal so many entries; whether the replayed object equals the live one."""
    drawn = random.Random(seed)
    path = folder / "state.json"
    options = {"file": {"path": str(path), "journal": True}, "journal": {"keep": "10 GB"}}
    with MemSync[Any]("equal", START, options, engine=engine) as mem:
        mem.flush()  # the first base precedes the entries
        first = version = mem.version
        while version - first < count:
            try:
                version = mem.patch(update(drawn))
            except MemSyncError:
                continue
            if version % 1000 == 0:
                mem.patch({"$set": {"l": [1], "deep": START["deep"]}}, journal=True)
        mem.patch({"$set": {"end": True}}, journal=True)
        live = json.dumps(mem.snapshot())
    history = JournalHistory(str(path))
    begin = min(base.pair for base in history.folder.bases)
    replay, entries, operations = Replay(history.whole(begin).data), 0, 0
    for line in history.lines():
        if line.is_entry and line.version > begin[1]:
            replay.apply(line)
            entries += bool(line.patch)
            operations += len(line.patch or [])
    return {
        "entries": entries,
        "operations": operations,
        "equal": json.dumps(replay.document) == live,
        "notes": history.notes,
    }
