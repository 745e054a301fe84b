"""Parsing by the table. Only the parser of the command that runs is made."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from .table import COMMANDS, JSON, Command

PROGRAM = "memsync"


class CommandLineError(Exception):
    """A wrong command line; `usage` shows a right one."""

    def __init__(self, message: str, usage: str) -> None:
        super().__init__(message)
        self.usage = usage


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandLineError(message, self.format_usage())

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help. `argparse` would hide an error, and take another output for a closed one."""
        if file is not None:
            file.write(message)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End after help; an output that cannot be written is an error."""
        if sys.stdout is not None:
            sys.stdout.flush()
        super().exit(status, message)


def parse(arguments: Sequence[str]) -> tuple[str, Any]:
    """The name of the command and its arguments; raises `CommandLineError`.

    Raises `SystemExit` after it has printed help.
    """
    name = arguments[0] if arguments else ""
    if name in COMMANDS:
        return name, _parse_command(name, COMMANDS[name], list(arguments[1:]))
    if name in ("-h", "--help", "help"):
        print(overview(), end="", flush=True)
        raise SystemExit(0)
    what = f"there is no command {name!r}" if name else "a command is missing"
    raise CommandLineError(f"{what}: choose one of {', '.join(COMMANDS)}", f"{_USAGE}\n")


def _parse_command(name: str, command: Command, words: list[str]) -> argparse.Namespace:
    own = words
    if command.runs and "--" in words:
        own = words[: words.index("--")]
    about = f"{command.help} {command.details}"
    parser = _Parser(f"{PROGRAM} {name}", description=about, allow_abbrev=False)
    for argument in (*command.arguments, JSON):
        parser.add_argument(*argument.flags, **argument.options)
    parsed = parser.parse_intermixed_args(own)  # options may stand between the others
    if command.runs:
        parsed.program = words[len(own) + 1 :] or parsed.program
    return parsed


_USAGE = f"usage: {PROGRAM} [--version] COMMAND [ARGUMENTS]"


def overview() -> str:
    """The help of the whole program."""
    rows = "".join(f"  {name:12}{command.help}\n" for name, command in COMMANDS.items())
    return (
        f"{_USAGE}\n\nPython processes share one JSON-like object, without a server.\n\n"
        f"commands:\n{rows}\n'{PROGRAM} COMMAND --help' describes its arguments.\n"
    )
