"""The table of commands: names, help, arguments, and where each is. Parser and completion use it.

A command is a module in `commands` with ``run(arguments, out)``, imported when it runs. `run`
returns the exit status, or None for success.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Argument:
    """An argument of a command, as `argparse` takes it, and what completes its value."""

    def __init__(self, *flags: str, completes: str = "", **options: Any) -> None:
        self.flags = flags
        self.completes = completes  # a function of `completion`, by its name
        self.options = options

    @property
    def is_option(self) -> bool:
        return self.flags[0].startswith("-")

    @property
    def takes_value(self) -> bool:
        return not self.is_option or self.options.get("action") != "store_true"


class Command(NamedTuple):
    """One row."""

    help: str  # one sentence
    arguments: tuple[Argument, ...] = ()
    details: str = ""
    streams: bool = False  # a reader that closes the pipe has seen enough
    runs: bool = False  # what follows -- is a program of its own


def _flag(*flags: str, help: str) -> Argument:
    return Argument(*flags, action="store_true", help=help)


JSON = _flag("--json", help="print JSON: one value, or one per line")
NAME = Argument("name", completes="names", help="the name of the object")
PATH = Argument(
    "path", nargs="?", default="", completes="paths", help="a dotted path (default: all of it)"
)
TIMEOUT = Argument(
    "--timeout", type=float, metavar="SECONDS", help="how long to wait (default: the option)"
)
PEER = Argument("--peer", completes="peers", metavar="ID", help="the peer that is to run it")
SINCE = Argument("--since", type=int, metavar="VERSION", help="go on after this version")
FILE = Argument("file", completes="files", help="the file of the object (file.path)")
AT = Argument("--at", metavar="VERSION", help="the version")
UNTIL = Argument("--until", metavar="TIME", help="the last version up to this time")

COMMANDS: dict[str, Command] = {
    "ls": Command(
        "List the objects that processes on this machine share.",
        (),
        "For each object: the process that hosts it, the number of peers, its version, and its "
        "age. '?' stands for what a host that does not answer would know.",
    ),
    "get": Command(
        "Print the value at a path.",
        (
            NAME,
            PATH,
            _flag("-r", "--raw", help="print a string without quotes"),
            TIMEOUT,
        ),
        "The host is asked; this process does not join the group. Exit status 1 if there is no "
        "value at the path.",
    ),
    "patch": Command(
        "Change the object, and print the version that has the change.",
        (
            NAME,
            Argument("update", help="update operators, or RFC 6902 operations; '-' reads them"),
            Argument("--where", metavar="FILTER", help="change it only if the filter matches"),
            _flag("--dry-run", help="print the RFC 6902 patch, and change nothing"),
            TIMEOUT,
        ),
        "Joins as a writer for a moment. Exit status 1 if --where does not match, 4 if the group "
        "refuses the change, 124 if its outcome is not known in time.",
    ),
    "watch": Command(
        "Print a line of JSON for each change at a path.",
        (
            NAME,
            PATH,
            SINCE,
            _flag("--initial", help="print the value of now first"),
            Argument("--exec", metavar="COMMAND", dest="program", help="run it for each line"),
            TIMEOUT,
        ),
        "A line has the value and its version. Writes that arrive together make one line. 'missed' "
        "is how many changes, at most, were left out before it. The shell command of --exec gets "
        "the line as its input, and MEMSYNC_VERSION. --timeout ends it after that time without a "
        "change.",
        streams=True,
    ),
    "wait": Command(
        "Wait until the object matches a filter.",
        (
            NAME,
            Argument("filter", help="a MongoDB query, as JSON"),
            _flag("--while", help="wait as long as it matches"),
            TIMEOUT,
        ),
        "Exit status 124 if it does not match in time.",
    ),
    "call": Command(
        "Call a method of a peer, and print what it returns.",
        (
            NAME,
            Argument("method", completes="methods", help="the dotted name of the method"),
            Argument("args", nargs="*", default=[], help="arguments: JSON, or else text"),
            Argument(
                "--set",
                action="append",
                default=[],
                dest="named",
                metavar="NAME=VALUE",
                help="a named argument",
            ),
            PEER,
            TIMEOUT,
        ),
        "A generator prints a line for each item. Exit status 1 if the method raises.",
        streams=True,
    ),
    "emit": Command(
        "Emit an event, and print its version.",
        (
            NAME,
            Argument("event", help="the dotted name of the event"),
            Argument("args", nargs="*", default=[], help="arguments: JSON, or else text"),
            TIMEOUT,
        ),
    ),
    "events": Command(
        "Print a line of JSON for each event.",
        (
            NAME,
            Argument("pattern", nargs="?", default="**", help="names, as in 'job.*' (default: **)"),
            SINCE,
        ),
        "A line {'missed': n} stands for events that did not arrive here, or that the log of the "
        "host no longer has.",
        streams=True,
    ),
    "lock": Command(
        "Run a program while holding a named lock.",
        (
            NAME,
            Argument("lock", completes="locks", help="the name of the lock"),
            Argument(
                "program", nargs="*", default=[], help="after '--': the program and its arguments"
            ),
            Argument(
                "--lease",
                type=float,
                metavar="SECONDS",
                help="if this command is suspended for longer, it loses the lock",
            ),
            TIMEOUT,
        ),
        "The exit status is that of the program, or 128 and the signal that has ended it. The "
        "program finds the fencing token in MEMSYNC_LOCK_TOKEN. Signals are passed on to it. Exit "
        "status 124 if the lock is not free in time. If the lock is lost, it gets SIGTERM.",
        runs=True,
    ),
    "top": Command(
        "Show an object live: peers, host, writes, locks.",
        (
            NAME,
            _flag("--once", help="print one page and end"),
            Argument("--interval", type=float, default=1.0, metavar="SECONDS", help="default: 1"),
        ),
        "Press q to end.",
        streams=True,
    ),
    "host": Command(
        "Host an object in the foreground.",
        (
            NAME,
            Argument("--config", completes="files", metavar="FILE", help="a YAML file"),
        ),
        "A dedicated host (serverOnly). SIGTERM and SIGHUP hand over to another peer; so does "
        "Ctrl-C, with exit status 130.",
    ),
    "replay": Command(
        "Print the object of a file as it was at a version or a time, from its journal.",
        (FILE, AT, UNTIL, _flag("--diff", help="what has changed since then")),
        "All lines of the journal are checked. With --diff, print what has changed since then up "
        "to the newest version. Exit status 1 for a damaged journal.",
    ),
    "log": Command(
        "Print who changed what, when, and from what to what, from the journal of a file.",
        (FILE, Argument("--path", metavar="PATH", help="only the value at this dotted path")),
        "Exit status 1 for a damaged journal.",
        streams=True,
    ),
    "restore": Command(
        "Put an object of the journal in the place of its file; the newest one without an option.",
        (FILE, AT, UNTIL),
        "The file is kept beside the new one, and so is a damaged journal. Stop the group first. "
        "Exit status 1 for a damaged journal or a failing disk, 2 if a group uses the file.",
    ),
    "doctor": Command(
        "Report the folder, the host, its peers, stale files, and why a peer has no host.",
        (Argument("name", nargs="?", completes="names", help="an object (default: all)"),),
        "Examines the rendezvous folder (MEMSYNC_DIR) and contacts each host. It changes nothing "
        "and joins no group. Exit status: 0 if all is well, 1 if something is wrong.",
    ),
    "demo": Command(
        "Increment a shared counter from several processes and kill the host.",
        (
            Argument("--workers", type=int, default=4, help="processes, 2 to 100 (default: 4)"),
            Argument("--writes", type=int, default=1000, help="writes of each (default: 1000)"),
        ),
        "Each worker process adds 1 to one shared counter many times. Halfway through, the host "
        "process is killed with SIGKILL and another worker takes over. At the end the counter is "
        "compared with what each worker recorded outside memsync. Exit status: 0 if no "
        "acknowledged increment was lost, 1 if one was lost or the run failed.",
        streams=True,
    ),
    "schema": Command(
        "Print the JSON Schema of configuration files, or of what a command prints.",
        (
            Argument(
                "command", nargs="?", completes="commands", help="print that of its --json output"
            ),
        ),
        "For editors: write it to a file, and name that file in the first line of a configuration "
        'file: "# yaml-language-server: $schema=memsync.schema.json".',
    ),
    "completion": Command(
        "Print the script that completes memsync's commands in a shell.",
        (Argument("shell", choices=("bash", "zsh", "fish"), help="bash, zsh or fish"),),
        'bash: eval "$(memsync completion bash)"; zsh: the same in .zshrc, after compinit; fish: '
        "memsync completion fish | source",
    ),
}
"""All commands by their names, in the order of the help."""
