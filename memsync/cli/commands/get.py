"""``memsync get``: the value at a path, from the host, without joining the group."""

from __future__ import annotations

import json
from typing import Any

from ...options import check_path
from ..exits import NEGATIVE
from ..group import ask, join_time, joined
from ..output import Output, report


def run(arguments: Any, out: Output) -> int | None:
    name, path = arguments.name, arguments.path
    if path:
        check_path(path)
    answer = ask(name, {"about": "value", "path": path}, arguments.timeout)
    if answer.get("large"):
        with joined(name, timeout=join_time(arguments.timeout)) as mem:
            answer |= {"version": mem.version, "value": mem.snapshot(path)}
    if not answer["found"]:
        text = f"there is no value at {path!r}"
        return report(text, NEGATIVE, None, as_json=out.as_json)
    value = answer["value"]
    is_raw = arguments.raw and isinstance(value, str)
    text = value if is_raw else json.dumps(value, ensure_ascii=False, indent=2)
    out.show(text, {"version": answer["version"], "value": value})
    return None
