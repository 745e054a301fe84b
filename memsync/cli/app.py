"""The commands and their arguments; what each does is in a module of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from ..errors import UsageError
from ..options import check_name
from .demo import Demo
from .display import progress_display
from .doctor.findings import is_well, judge
from .doctor.looking import look
from .doctor.telling import tell, to_json
from .pool import DemoError, set_up_logging
from .report import print_report
from .words import InputError, text_files

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help and errors, which can be searched and piped
)

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C ended


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def memsync(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Python processes share one JSON-like object, without a server."""


@app.command()
def demo(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="A folder or a file. Default: the Python files of the standard library."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of worker processes.")] = 4,
    no_kill: Annotated[bool, typer.Option("--no-kill", help="Kill no process half-way.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log to stderr.")] = False,
) -> None:
    """Count the words of text files with a pool of processes that share one object.

    Half-way the process that is host is killed; the others go on. At the end the counts are
    compared with a plain count. Exit status 0 if they are equal, 1 if not, or if nothing was
    killed, 2 for input that cannot be counted.
    """
    if workers < 2 and not no_kill:
        raise _ended("one of the workers is to be killed: use --workers 2 or --no-kill", BAD_INPUT)
    set_up_logging(verbose)
    try:
        paths = text_files(path)
        with progress_display(len(paths)) as show:
            report = Demo(paths, workers, kill=not no_kill, verbose=verbose, show=show).run()
    except InputError as error:
        raise _ended(str(error), BAD_INPUT) from None
    except DemoError as error:
        raise _ended(str(error), FAILED) from None
    except KeyboardInterrupt:
        raise _ended("interrupted", INTERRUPTED) from None
    print_report(report)
    if not report.equal or (report.changes == 0 and not no_kill):
        raise typer.Exit(FAILED)


@app.command()
def doctor(
    name: Annotated[
        str | None, typer.Argument(help="The name of an object. Default: all of them.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print facts and findings.")] = False,
) -> None:
    """Say what is in the folder, who is host, what is stale, and why one cannot start.

    Looks into the folder in which processes meet (MEMSYNC_DIR), asks each host whether it answers,
    and looks at the limits of the system. Changes nothing and joins nothing. Exit status 0 if all
    is well, 1 if something is wrong, 2 for a name that cannot be one.
    """
    try:
        facts = look(name if name is None else check_name(name))
    except UsageError as error:
        raise _ended(str(error), BAD_INPUT) from None
    except KeyboardInterrupt:
        raise _ended("interrupted", INTERRUPTED) from None
    findings = judge(facts)
    if as_json:
        typer.echo(to_json(facts, findings))
    else:
        tell(findings)
    if not is_well(findings):
        raise typer.Exit(FAILED)


def _ended(message: str, status: int) -> typer.Exit:
    typer.echo(f"memsync: {message}", err=True)
    return typer.Exit(status)
