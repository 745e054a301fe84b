"""``memsync call``: a method of another peer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...errors import MemSyncError, UsageError
from ..exits import NEGATIVE
from ..group import joined, json_or_text
from ..output import Output, report


def run(arguments: Any, out: Output) -> int | None:
    args = [json_or_text(text) for text in arguments.args]
    named = dict(_named(text) for text in arguments.named)
    with joined(arguments.name, timeout=arguments.timeout) as mem:
        try:
            result = mem.rpc.call(
                arguments.method, args, named, peer=arguments.peer, timeout=arguments.timeout
            )
            for item in result if isinstance(result, Iterator) else [result]:
                out.line(item)
        except MemSyncError as error:
            if error.outcome != "applied":
                raise
            return report(str(error), NEGATIVE, error, as_json=out.as_json)
    return None


def _named(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise UsageError(f"--set needs NAME=VALUE, not {text!r:.60}")
    return name, json_or_text(value)
