"""The command line from end to end: parse, run the command, report its error, exit status."""

from __future__ import annotations

import io
import os
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
        print(__version__)
        return 0
    if words[:1] == ["__complete"]:  # by the scripts of `memsync completion`
        from .completion import complete

        return complete(words[1:])
    with importing():
        from ..errors import MemSyncError, UsageError
        from . import exits
        from .failed import Failed
        from .output import report
        from .parser import CommandLineError, parse
        from .table import COMMANDS

        if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may be no text at all
            sys.stdout.reconfigure(errors="backslashreplace")
        as_json = "--json" in (words[: words.index("--")] if "--" in words else words)
        streams = words[:1] != [] and words[0] in COMMANDS and COMMANDS[words[0]].streams
    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=UserWarning)  # also with `python -W error`
        warnings.showwarning = _ignore if as_json else _warn
        try:
            name, parsed = parse(words)
            status = _run(name, parsed)
            if sys.stdout is not None:  # as in a program that was started with `>&-`
                sys.stdout.flush()
            return status
        except CommandLineError as error:
            if not as_json:
                print(error.usage, end="", file=sys.stderr)
            wrong = UsageError(str(error))
            return report(str(error), exits.USAGE, wrong, as_json=as_json)
        except MemSyncError as error:
            return report(str(error), exits.status_of(error), error, as_json=as_json)
        except Failed as error:
            return report(str(error), exits.NEGATIVE, error, as_json=as_json)
        except KeyboardInterrupt:
            return report("interrupted", exits.INTERRUPTED, None, as_json=as_json)
        except BrokenPipeError:  # the reader has closed the pipe, as `head` does
            _discard_output()
            return exits.OK if streams else exits.NEGATIVE
        except OSError as error:  # the output cannot be written, a file cannot be read
            _discard_output()
            return report(str(error), exits.REFUSED, error, as_json=as_json)


def _run(name: str, parsed: object) -> int:
    from .output import Output, ends_with_reader
    from .table import COMMANDS

    with importing():
        command = import_module(f"{__package__}.commands.{name}")
    out = Output(as_json=getattr(parsed, "json", False))
    with ends_with_reader() if COMMANDS[name].streams else nullcontext():
        status: int | None = command.run(parsed, out)
    return status or 0


def _discard_output() -> None:
    """Whatever is flushed from now on goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    print(f"memsync: warning: {message}", file=sys.stderr)


def _ignore(*_: object, **__: object) -> None:
    """With --json there are errors on the error output, and nothing else."""
