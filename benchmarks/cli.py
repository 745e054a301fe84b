"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import memsync

from . import machine
from .comparison import behind, warning
from .files import FileProblem, check, write
from .processes import preload
from .report import charts, markdown
from .results import Run, WorkloadResult, has_failed, kept, load, save
from .runner import DATE, run, say
from .workloads import ALL

KEPT = Path(__file__).parent / "results"
OUT = Path("build/benchmarks")
INTERRUPTED = 130  # what shells report for Ctrl-C
FILES = RESULT, TEXT, GOALS, SYSTEMS = "result.json", "result.md", "goals.svg", "systems.svg"


def at_least(low: int, text: str) -> int:
    """A whole number from a lowest one on."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no whole number: give one from {low} on"
        ) from None
    if number < low:
        raise argparse.ArgumentTypeError(f"{text} is too low: give a number from {low} on")
    return number


def release_name(text: str) -> str:
    """The name of a release, which becomes that of a file."""
    if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z.+_-]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a release: give one like 1.2.0")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure memsync beside its alternatives."
    )
    parser.add_argument("--list", action="store_true", help="name the workloads and exit")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        choices=list(ALL),
        default=list(ALL),
        help="run these workloads only (see --list)",
    )
    parser.add_argument(
        "--rounds", type=lambda text: at_least(1, text), help="default: as the workload needs"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, two rounds")
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder for the report ({OUT})")
    parser.add_argument(
        "--check",
        action="store_true",
        help="exit with 1 if a goal is 15 %% behind the last kept result",
    )
    parser.add_argument(
        "--add", action="store_true", help="keep the other workloads of the report that is there"
    )
    parser.add_argument(
        "--base", type=Path, metavar="DIR", help="another checkout of memsync to compare with"
    )
    parser.add_argument(
        "--keep",
        type=release_name,
        metavar="RELEASE",
        help="keep the result as that of a release, for comparison",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.list:
        for name, workload in ALL.items():
            print(f"{name:18} {workload.title}")
        return 0
    try:
        refuse_what_does_not_fit(chosen)
        older = kept(KEPT)
        if chosen.check and not older:
            raise Refused(
                f"--check: there is no result in {KEPT}; keep one with --keep RELEASE first"
            )
        result = begin(chosen)
    except (Refused, FileProblem) as error:
        parser.error(str(error))
    for number in (signal.SIGTERM, signal.SIGHUP):  # so that what was started is ended
        if signal.getsignal(number) is not signal.SIG_IGN:  # as with nohup
            signal.signal(number, leave)
    forget_options()
    preload()
    done: list[str] = []
    try:
        return measure_all(chosen, result, older, done)
    except KeyboardInterrupt:
        so_far = f"the report so far is in {chosen.out}" if done else "nothing was measured"
        say(f"interrupted: {so_far}")
        return INTERRUPTED
    except FileProblem as error:
        say(str(error))
        return 1


def leave(number: int, frame: object) -> NoReturn:
    say(f"ended by {signal.Signals(number).name}")
    sys.exit(1)


def forget_options() -> None:
    """Leave out the options of memsync that the environment states: the defaults are measured."""
    for name in [name for name in os.environ if name.startswith("MEMSYNC_")]:
        del os.environ[name]
        say(f"note: {name} is left out, because memsync is measured with its defaults")


class Refused(Exception):
    """The options cannot be followed; the text says why, and what to do."""


def refuse_what_does_not_fit(chosen: argparse.Namespace) -> None:
    if chosen.keep and chosen.quick:
        raise Refused("a quick run is not worth keeping: leave out --quick or --keep")
    if (
        chosen.keep
        and not chosen.add
        and (left := [name for name in ALL if name not in chosen.only])
    ):
        raise Refused(
            f"--keep: a kept result has all workloads, and {', '.join(left)} would be missing: "
            "leave out --only, or --keep, or add to a report with --add"
        )
    if chosen.check and chosen.quick:
        raise Refused("a quick run proves nothing: leave out --quick or --check")
    if chosen.base and not (chosen.base / "memsync" / "__init__.py").is_file():
        raise Refused(f"--base: {chosen.base} is no checkout, it has no memsync/__init__.py")
    for name in FILES:
        check(chosen.out / name)
    if chosen.keep:
        check(KEPT / f"{chosen.keep}.json")


def begin(chosen: argparse.Namespace) -> Run:
    """The result before the first workload, with the earlier ones if they are to be kept."""
    result = Run(
        release=chosen.keep or memsync.__version__,
        date=time.strftime(DATE),
        quick=chosen.quick,
        machine=machine.facts(),
        workloads=[],
    )
    path = chosen.out / RESULT
    if chosen.add and path.exists():
        earlier = load(path)
        if reason := cannot_join(result, earlier):
            raise Refused(f"--add: {path} {reason}: leave out --add, or name another --out")
        result.workloads = earlier.workloads
    return result


def measure_all(chosen: argparse.Namespace, result: Run, older: list[Run], done: list[str]) -> int:
    """Run the workloads, write the report after each, and return the exit code.

    `done` gets the names of those that are in the report.
    """
    rounds = chosen.rounds or (2 if chosen.quick else None)
    for name in chosen.only:
        measured = run(ALL[name], rounds, chosen.quick, chosen.base)
        result.workloads = in_order([measured, *result.workloads])
        say(markdown.terminal(measured))
        done.append(name)
        write_report(result, chosen.out, set(done) if chosen.add else None)
    failed = any(map(has_failed, result.workloads))
    if chosen.keep:
        failed |= not keep(result, chosen.keep)
    worse = compare(result, older[-1]) if older and not chosen.quick else False
    say(f"the report is in {chosen.out}")
    return 1 if failed or (worse and chosen.check) else 0


def compare(result: Run, older: Run) -> bool:
    """Say what has fallen behind an older result; returns whether anything has."""
    if note := warning(result, older):
        say(f"note: {note}")
    worse = list(behind(result, older))
    for line in worse:
        say(f"behind: {line}")
    return bool(worse)


def cannot_join(result: Run, earlier: Run) -> str:
    """Why a result is not of the same kind as an earlier one; empty if it is."""
    if result.quick != earlier.quick:
        return f"is of a {'quick' if earlier.quick else 'full'} run"
    names = result.machine.keys() | earlier.machine.keys()
    changed = [name for name in names if result.machine.get(name) != earlier.machine.get(name)]
    return f"was measured with another {', '.join(sorted(changed))}" if changed else ""


def keep(result: Run, release: str) -> bool:
    """Put a complete result to those of the other releases."""
    if reason := not_worth_keeping(result):
        say(f"not kept, because {reason}")
        return False
    path = KEPT / f"{release}.json"
    if path.exists():
        say(f"this replaces the result of {release} in {path}")
    save(result, path)
    write(KEPT / "history.svg", charts.history(kept(KEPT)))
    return True


def not_worth_keeping(result: Run) -> str:
    """Why later runs cannot be compared with a result; empty if they can."""
    if result.quick:
        return "it is of a quick run"
    missing = ALL.keys() - {workload.name for workload in result.workloads}
    if missing:
        return f"these workloads are missing: {', '.join(sorted(missing))}"
    failed = [workload.name for workload in result.workloads if has_failed(workload)]
    return f"these workloads failed: {', '.join(failed)}" if failed else ""


def in_order(found: list[WorkloadResult]) -> list[WorkloadResult]:
    """The first result of each workload, in the order of the list."""
    names = {result.name: result for result in reversed(found)}
    return [names[name] for name in ALL if name in names]


def write_report(result: Run, folder: Path, measured: Set[str] | None = None) -> None:
    """Write the report of what was measured up to now.

    With the names of what this run has measured, the others are those of the report that is there,
    to which another run may have added meanwhile.
    """
    with alone_in(folder):
        if measured is not None and (folder / RESULT).exists():
            own = [each for each in result.workloads if each.name in measured]
            result.workloads = in_order(own + load(folder / RESULT).workloads)
        save(result, folder / RESULT)
        write(folder / TEXT, markdown.report(result))
        write(folder / GOALS, charts.goals(result))
        write(folder / SYSTEMS, charts.systems(result))


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Let no other run of the benchmark write its report meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
