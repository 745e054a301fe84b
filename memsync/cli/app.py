"""The command line from end to end: parse, run the command, report its error, exit status."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module

from ..version import __version__
from .interrupts import importing


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words in (["--version"], ["-V"]):  # without the imports below
        return _print_version()
    if words[:1] == ["__complete"]:  # by the scripts of `memsync completion`
        from .completion import complete

        return complete(words[1:])
    as_json = "--json" in (words[: words.index("--")] if "--" in words else words)
    try:
        return _main(words, as_json=as_json)
    except KeyboardInterrupt:
        from .exits import INTERRUPTED
        from .output import report

        return report("interrupted", INTERRUPTED, None, as_json=as_json)


def _main(words: list[str], *, as_json: bool) -> int:
    with importing():
        from ..errors import MemSyncError, UsageError
        from . import exits
        from .failed import Failed
        from .output import complain, discard, escape_what_has_no_code, report
        from .parser import CommandLineError, parse
        from .table import COMMANDS
    escape_what_has_no_code()
    streams = words[:1] != [] and words[0] in COMMANDS and COMMANDS[words[0]].streams
    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=UserWarning)  # also with `python -W error`
        warnings.showwarning = _ignore if as_json else _warn
        try:
            with importing():  # argparse fails in another way where it is interrupted
                name, parsed = parse(words)
            status = _run(name, parsed)
            if sys.stdout is not None:  # as in a program that was started with `>&-`
                sys.stdout.flush()
            return status
        except CommandLineError as error:
            if not as_json:
                complain(error.usage.rstrip("\n"))
            wrong = UsageError(str(error))
            return report(str(error), exits.USAGE, wrong, as_json=as_json)
        except MemSyncError as error:
            return report(str(error), exits.status_of(error), error, as_json=as_json)
        except Failed as error:
            return report(str(error), exits.NEGATIVE, error, as_json=as_json)
        except BrokenPipeError:  # the reader has closed the pipe, as `head` does
            discard(sys.stdout)
            return exits.OK if streams else exits.NEGATIVE
        except OSError as error:  # the output cannot be written, a file cannot be read
            discard(sys.stdout)
            return report(str(error), exits.REFUSED, error, as_json=as_json)


def _print_version() -> int:
    try:
        print(__version__, flush=True)
        return 0
    except OSError as error:
        from .exits import NEGATIVE, REFUSED
        from .output import discard, report

        discard(sys.stdout)
        if isinstance(error, BrokenPipeError):
            return NEGATIVE
        return report(str(error), REFUSED, error, as_json=False)


def _run(name: str, parsed: object) -> int:
    from .output import Output, ends_with_reader
    from .table import COMMANDS

    with importing():
        command = import_module(f"{__package__}.commands.{name}")
    out = Output(as_json=getattr(parsed, "json", False))
    with ends_with_reader() if COMMANDS[name].streams else nullcontext():
        status: int | None = command.run(parsed, out)
    return status or 0


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    from .output import complain

    complain(f"memsync: warning: {message}")


def _ignore(*_: object, **__: object) -> None:
    """With --json there are errors on the error output, and nothing else."""
