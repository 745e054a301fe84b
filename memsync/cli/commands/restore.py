"""``memsync restore``: an object of the journal becomes the file again."""

from __future__ import annotations

from typing import Any

from ..journal.commands import print_restore
from ..output import Output


def run(arguments: Any, out: Output) -> None:
    print_restore(arguments.file, arguments.at, arguments.until, as_json=out.as_json)
