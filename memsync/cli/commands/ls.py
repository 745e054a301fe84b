"""``memsync ls``: the objects that processes on this machine share."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ...clocks import wall
from ...errors import MemSyncError
from ...manager.folder.survey import SeenObject, read_key, seen_objects
from ...manager.transport.channel import ChannelLost
from ...manager.transport.dial import inspect
from ..duration import duration
from ..output import Output

_PATIENCE = 0.5  # seconds for each step of a question
_HEADER = ("NAME", "HOST", "PEERS", "VERSION", "AGE")


def run(arguments: Any, out: Output) -> None:
    found = [_facts(seen) for seen in seen_objects()]
    if out.as_json:
        out.line(found)
        return
    rows = [_HEADER, *map(_row, found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    for row in rows if found else ():
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def _facts(seen: SeenObject) -> dict[str, Any]:
    host = seen.host
    answer: dict[str, Any] = {}
    if host is not None:
        with suppress(ChannelLost, MemSyncError):  # the line shows what the folder has
            answer = inspect(host.address, read_key(), {"about": "status"}, timeout=_PATIENCE)
    return {
        "name": seen.name,
        "host": None if host is None else {"id": host.peer, "pid": host.pid},
        "peers": len(seen.peers),
        "epoch": answer.get("epoch"),
        "version": answer.get("version"),
        "age": max(wall() - answer["founded"], 0.0) if answer else None,
    }


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    host, version, age = facts["host"], facts["version"], facts["age"]
    return (
        facts["name"],
        "?" if host is None else str(host["pid"]),
        str(facts["peers"]),
        "?" if version is None else str(version),
        "?" if age is None else duration(age),
    )
