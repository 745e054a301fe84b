"""``memsync events``: a line of JSON for each event."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..group import ask, check_since, joined
from ..output import Output

if TYPE_CHECKING:
    from ...handle import MemSync


def run(arguments: Any, out: Output) -> None:
    check_since(arguments.since)
    with joined(arguments.name) as mem:
        for line in _lines(mem, arguments.pattern, arguments.since):
            out.line(line)


def _lines(mem: MemSync[Any], pattern: str, since: int | None) -> Iterator[dict[str, Any]]:
    """The events before this peer has joined, if they are wanted, and those after it."""
    from ...events import Event

    until = mem._participating().replica.view_pair  # a newcomer has no log of what was before
    after = None if since is None else max(since, until[1])
    stream = mem.events.stream(pattern, after)  # first: what arrives meanwhile waits in it
    if since is not None:
        yield from _past(mem.name, pattern, since, until)
    for item in stream:
        if isinstance(item, Event):
            yield _line(item.name, list(item.args), item.version, item.peer)
        else:
            yield {"missed": item.count}


def _past(name: str, pattern: str, since: int, until: tuple[int, int]) -> Iterator[dict[str, Any]]:
    """What the log of the host has of the events after a version, up to a pair."""
    while since < until[1]:
        answer = ask(name, {"about": "events", "name": pattern, "since": since, "until": until})
        if answer["missed"] != 0:
            yield {"missed": answer["missed"]}
        for event in answer["events"]:
            yield _line(*event)
        since = answer["version"]


def _line(name: str, args: list[Any], version: int, peer: str) -> dict[str, Any]:
    return {"event": name, "args": args, "version": version, "peer": peer}
