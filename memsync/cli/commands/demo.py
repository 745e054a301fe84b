"""``memsync demo``: worker processes share one counter, and the host is killed."""

from __future__ import annotations

from typing import Any

from ...errors import UsageError
from ..demo import run as demo
from ..exits import NEGATIVE
from ..output import Output, report


def run(arguments: Any, out: Output) -> int | None:
    if arguments.workers < 2 or arguments.writes < 1:
        raise UsageError("one worker is killed: --workers must be at least 2, --writes at least 1")
    try:
        is_complete = demo.run(arguments.workers, arguments.writes, lambda text: _say(out, text))
    except demo.DemoError as error:
        return report(f"the demo failed: {error}", NEGATIVE, None, as_json=out.as_json)
    return None if is_complete else NEGATIVE


def _say(out: Output, text: str) -> None:
    out.show(text, {"message": text})
