"""``memsync watch``: a line of JSON for each change at a path."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...options import check_path
from ..exits import TIMED_OUT
from ..group import ask, check_since, join_time, joined
from ..output import Output, compact, complain

if TYPE_CHECKING:
    from ...handle import MemSync


def run(arguments: Any, out: Output) -> int:
    if arguments.path:
        check_path(arguments.path)
    check_since(arguments.since)
    with joined(arguments.name, timeout=join_time(arguments.timeout)) as mem:
        for line in _lines(mem, arguments):
            if arguments.program is None:
                out.line(line)
            else:
                _pass_to(arguments.program, line, out)
    return TIMED_OUT


def _lines(mem: MemSync[Any], arguments: Any) -> Iterator[dict[str, Any]]:
    """The changes before this peer has joined, if they are wanted, and those after it."""
    path, since = arguments.path, arguments.since
    changes = mem.changes(path, initial=True, timeout=arguments.timeout)
    value, version = next(changes)
    if since is not None:
        question = {"about": "changes", "path": path, "since": since}
        answer = ask(arguments.name, question)
        if answer["missed"]:
            yield _line(value, version, answer["missed"])
        for each in answer["values"]:
            if each[1] <= version:
                yield _line(*each)
            elif each[2]:  # what was left out may have been before the join
                yield _line(value, version, each[2])
                break
    elif arguments.initial:
        yield _line(value, version, 0)
    for value, version in changes:
        yield _line(value, version, changes.missed)


def _line(value: Any, version: int, missed: int) -> dict[str, Any]:
    line = {"version": version, "value": value}
    return line | {"missed": missed} if missed else line


def _pass_to(program: str, line: dict[str, Any], out: Output) -> None:
    """Run a shell command with the line as its input, to its end."""
    environ = {**os.environ, "MEMSYNC_VERSION": str(line["version"])}
    text = f"{compact(line)}\n".encode()
    ended = subprocess.run(["/bin/sh", "-c", program], input=text, env=environ, check=False)
    if ended.returncode and not out.as_json:
        complain(f"memsync: {program!r} ended with status {ended.returncode}")
