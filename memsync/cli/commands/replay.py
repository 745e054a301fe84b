"""``memsync replay``: the object of a file as it was."""

from __future__ import annotations

from typing import Any

from ..journal.commands import print_replay
from ..output import Output


def run(arguments: Any, out: Output) -> None:
    print_replay(
        arguments.file, arguments.at, arguments.until, diff=arguments.diff, as_json=out.as_json
    )
