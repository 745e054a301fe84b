"""``memsync completion``: the script for a shell."""

from __future__ import annotations

from typing import Any

from ..completion import SCRIPTS
from ..output import Output


def run(arguments: Any, out: Output) -> None:
    script = SCRIPTS[arguments.shell]
    out.show(script.rstrip("\n"), {"script": script})
