"""``memsync emit``: an event for all peers."""

from __future__ import annotations

from typing import Any

from ..group import joined, json_or_text
from ..output import Output


def run(arguments: Any, out: Output) -> None:
    args = [json_or_text(text) for text in arguments.args]
    with joined(arguments.name, timeout=arguments.timeout) as mem:
        version = mem.events.emit(arguments.event, *args)
    out.show(str(version), {"version": version})
