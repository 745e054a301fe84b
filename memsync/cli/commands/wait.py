"""``memsync wait``: until the object matches a filter, or no longer does."""

from __future__ import annotations

from typing import Any

from ..group import join_time, joined, parse_json
from ..output import Output


def run(arguments: Any, out: Output) -> None:
    condition = parse_json(arguments.filter, "the filter")
    if vars(arguments)["while"]:
        condition = {"$nor": [condition]}
    with joined(arguments.name, timeout=join_time(arguments.timeout)) as mem:
        value = mem.wait_for(condition, timeout=arguments.timeout)  # checks now, and then waits
    if out.as_json:
        out.line({"value": value})
