"""What commands print: text for people, or JSON for programs; errors of both kinds."""

from __future__ import annotations

import json
import sys
from typing import Any

from ..errors import MemSyncError


def compact(value: Any) -> str:
    """A value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Output:
    """The standard output of one command."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def show(self, text: str, value: Any) -> None:
        """Print one or the other; at once, as a reader may wait for it."""
        print(compact(value) if self.as_json else text, flush=True)

    def line(self, value: Any) -> None:
        """Print a line of JSON, which is the text as well."""
        print(compact(value), flush=True)


def report(message: str, status: int, error: BaseException | None, *, as_json: bool) -> int:
    """Print an error to the error output, and return the exit status."""
    if as_json:
        is_own = isinstance(error, MemSyncError)
        message = compact(
            {
                "error": str(error.code) if isinstance(error, MemSyncError) else None,
                "message": message,
                "outcome": error.outcome if is_own and isinstance(error, MemSyncError) else None,
                "status": status,
            }
        )
    else:
        message = f"memsync: {message}"
    print(message, file=sys.stderr, flush=True)
    return status
