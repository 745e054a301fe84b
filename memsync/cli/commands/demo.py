"""``memsync demo``: worker processes share one counter, and the host is killed."""

from __future__ import annotations

from typing import Any

from ...errors import UsageError
from ..demo import run as demo
from ..exits import NEGATIVE
from ..output import Output, report

_MOST_WORKERS = 100  # more would only wait for each other, and could use up the memory


def run(arguments: Any, out: Output) -> int | None:
    workers, writes = arguments.workers, arguments.writes
    if not 2 <= workers <= _MOST_WORKERS:
        raise UsageError(
            f"--workers must be 2 to {_MOST_WORKERS}, not {workers}: each is a process, and one of "
            "them is killed"
        )
    if writes < 1:
        raise UsageError(f"--writes must be at least 1, not {writes}")
    try:
        is_complete = demo.run(workers, writes, lambda text: _say(out, text))
    except demo.DemoError as error:
        return report(f"the demo failed: {error}", NEGATIVE, None, as_json=out.as_json)
    return None if is_complete else NEGATIVE


def _say(out: Output, text: str) -> None:
    out.show(text, {"message": text})
