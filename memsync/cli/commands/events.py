"""``memsync events``: a line of JSON for each event."""

from __future__ import annotations

from typing import Any

from ..group import joined
from ..output import Output


def run(arguments: Any, out: Output) -> None:
    from ...events import Event, EventStream

    with joined(arguments.name) as mem:
        stream: EventStream = mem.events.stream(arguments.pattern)
        for item in stream:
            if isinstance(item, Event):
                out.line(
                    {
                        "event": item.name,
                        "args": list(item.args),
                        "version": item.version,
                        "peer": item.peer,
                    }
                )
            else:
                out.line({"missed": item.count})
