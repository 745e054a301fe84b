"""``memsync log``: the changes in the journal of a file."""

from __future__ import annotations

from typing import Any

from ..journal.commands import print_log
from ..output import Output


def run(arguments: Any, out: Output) -> None:
    print_log(arguments.file, arguments.path, as_json=out.as_json)
