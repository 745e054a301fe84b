"""``memsync schema``: the JSON Schema of configuration files, or of what a command prints."""

from __future__ import annotations

import json
from typing import Any

from ...errors import UsageError
from ..output import Output
from ..schemas import SCHEMAS


def run(arguments: Any, out: Output) -> None:
    if arguments.command is None:
        from ...options.json_schema import json_schema

        schema = json_schema()
    elif arguments.command in SCHEMAS:
        schema = SCHEMAS[arguments.command]
    else:
        names = ", ".join(SCHEMAS)
        raise UsageError(f"there is no schema of {arguments.command!r}: choose one of {names}")
    out.show(json.dumps(schema, indent=2, ensure_ascii=False), schema)
