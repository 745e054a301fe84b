"""The commands and their arguments. Each command is imported when it runs."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence

from ..errors import UsageError
from ..version import __version__
from .failed import Failed

FAILED = 1
BAD_INPUT = 2  # also what argparse exits with
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may be no text at all
        sys.stdout.reconfigure(errors="backslashreplace")
    parsed = _parser().parse_args(arguments)
    try:
        is_well: bool = parsed.command(parsed)
        if sys.stdout is not None:  # as in a program that was started with `>&-`
            sys.stdout.flush()
    except UsageError as error:
        return _fail(str(error), BAD_INPUT)
    except Failed as error:
        return _fail(str(error), FAILED)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return FAILED
    return 0 if is_well else FAILED


def demo(arguments: argparse.Namespace) -> bool:
    """Increment a shared counter from several processes and kill the host.

    Each worker process adds 1 to one shared counter many times. Halfway through, the host process
    is killed with SIGKILL and another worker takes over. At the end the counter is compared with
    what each worker recorded outside memsync. Exit status: 0 if no acknowledged increment was lost,
    1 if one was lost or the run failed, 2 for bad arguments.
    """
    from .demo.run import DemoError, run

    if arguments.workers < 2 or arguments.writes < 1:
        raise UsageError("one worker is killed: --workers must be at least 2, --writes at least 1")
    try:
        return run(arguments.workers, arguments.writes)
    except DemoError as error:
        print(f"memsync: the demo failed: {error}", file=sys.stderr)
        return False


def doctor(arguments: argparse.Namespace) -> bool:
    """Report the folder, the host, its peers, stale files, and why a peer has no host.

    The doctor examines the rendezvous folder (MEMSYNC_DIR) and contacts each host. It changes
    nothing and joins no group. Exit status: 0 if all is well, 1 if something is wrong, 2 for an
    invalid name.
    """
    from ..options import check_name
    from .doctor.checks import check, is_well
    from .doctor.collect import collect
    from .doctor.report import print_findings, print_json

    name = arguments.name
    facts = collect(name if name is None else check_name(name))
    findings = check(facts)
    if arguments.json:
        print_json(facts, findings)
    else:
        print_findings(findings)
    return is_well(findings)


def replay(arguments: argparse.Namespace) -> bool:
    """Print the object of a file as it was at a version or a time, from its journal.

    All lines of the journal are checked. With --diff, print what has changed since then up to the
    newest version. Exit status: 0, 1 for a damaged journal, 2 for bad input.
    """
    from .journal.commands import print_replay

    print_replay(
        arguments.file,
        arguments.at,
        arguments.until,
        diff=arguments.diff,
        as_json=arguments.json,
    )
    return True


def log(arguments: argparse.Namespace) -> bool:
    """Print who changed what, when, and from what to what, from the journal of a file.

    With --path, only the changes of the value there, which is written like a.b.0. With --json, one
    object per line. Exit status: 0, 1 for a damaged journal, 2 for bad input.
    """
    from .journal.commands import print_log

    print_log(arguments.file, arguments.path, as_json=arguments.json)
    return True


def restore(arguments: argparse.Namespace) -> bool:
    """Put an object of the journal in the place of its file; the newest one without an option.

    The file is kept beside the new one, and so is a damaged journal. Stop the group first. Exit
    status: 0, 1 for a damaged journal or a failing disk, 2 for bad input, or if a group uses it.
    """
    from .journal.commands import print_restore

    print_restore(arguments.file, arguments.at, arguments.until, as_json=arguments.json)
    return True


def schema(arguments: argparse.Namespace) -> bool:
    """Print the JSON Schema of configuration files, for editors.

    Write it to a file, and name that file in the first line of a configuration file:
    "# yaml-language-server: $schema=memsync.schema.json". Exit status: 0.
    """
    import json

    from ..options.json_schema import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "memsync", description="Python processes share one JSON-like object, without a server."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(command: Callable[[argparse.Namespace], bool]) -> argparse.ArgumentParser:
        text = command.__doc__ or ""
        summary = text.partition("\n")[0]
        added = commands.add_parser(command.__name__, help=summary, description=text)
        added.set_defaults(command=command)
        return added

    added = add(demo)
    added.add_argument("--workers", type=int, default=4, help="number of processes (default: 4)")
    added.add_argument("--writes", type=int, default=1000, help="writes of each (default: 1000)")
    added = add(doctor)
    added.add_argument("name", nargs="?", help="name of an object (default: all objects)")
    added.add_argument("--json", action="store_true", help="print facts and findings as JSON")
    for command in (replay, log, restore):
        added = add(command)
        added.add_argument("file", help="the file of the object (file.path)")
        added.add_argument("--json", action="store_true", help="print JSON")
        if command is log:
            added.add_argument("--path", help="only the value at this dotted path")
            continue
        added.add_argument("--at", metavar="VERSION", help="the version")
        added.add_argument("--until", metavar="TIME", help="the last version up to this time")
        if command is replay:
            added.add_argument("--diff", action="store_true", help="what has changed since then")
    add(schema)
    return parser


def _fail(message: str, status: int) -> int:
    print(f"memsync: {message}", file=sys.stderr)
    return status
