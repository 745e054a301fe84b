"""Run workloads: in each round all systems take turns, and the ratios of the round count."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

from .accounting import busy_share
from .model import Bench, Goal, Measure, Skipped, Values, Workload
from .processes import WorkerFailed
from .results import FAILED, GoalResult, WorkloadResult

DATE = "%Y-%m-%d %H:%M:%S"
SAMPLE = 0.5  # seconds for which the CPUs are watched before a workload


def run(
    workload: Workload, rounds: int | None, quick: bool, base: Path | None = None
) -> WorkloadResult:
    """Run one workload in a folder of its own."""
    date = time.strftime(DATE)
    busy = busy_share(SAMPLE)
    begin = time.monotonic()
    with folder_for_sockets() as folder, ExitStack() as stack:
        bench = Bench(folder, stack, quick, base)
        try:
            taken = measure(workload.open(bench), rounds or workload.rounds, workload.warm_up)
        except Skipped as reason:
            bench.skipped[workload.name] = str(reason)
            taken = []
        except (AssertionError, OSError, SubprocessError, WorkerFailed) as error:
            say(str(error))  # the whole traceback; the report has room for a line
            bench.skipped[workload.name] = f"{FAILED}: {last_line(error)}"
            taken = []
    result = summary(workload, taken, bench.skipped, time.monotonic() - begin)
    result.busy_before, result.date = busy, date
    return result


@contextmanager
def folder_for_sockets() -> Iterator[Path]:
    """A temporary folder with a short path."""
    with tempfile.TemporaryDirectory(prefix="ms-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def measure(measures: Sequence[Measure], rounds: int, warm_up: bool) -> list[Values]:
    """The values of each round. Every second round runs backwards, and the first one changes.

    So of two neighbours neither always has the warmer caches, or the busier time.
    """
    taken: list[Values] = []
    for number in range(-1 if warm_up else 0, rounds):
        first = number // 2 % len(measures)
        order = [*measures[first:], *measures[:first]]
        values: dict[str, float] = {}
        for one in reversed(order) if number % 2 else order:
            values.update(one())
        if number >= 0:
            taken.append(values)
    return taken


def summary(
    workload: Workload, taken: Sequence[Values], skipped: dict[str, str], seconds: float
) -> WorkloadResult:
    """The medians (or the worst) of what was taken, and the goals measured against it."""
    highest = not workload.higher_is_better
    worst = max if highest else min
    middle = worst if workload.worst else statistics.median
    names = list(dict.fromkeys(name for values in taken for name in values))
    rounds = {name: [values[name] for values in taken if name in values] for name in names}
    goals = list(workload.goals)
    goals += [Goal(name, f"{name}, base") for name in names if f"{name}, base" in names]
    return WorkloadResult(
        name=workload.name,
        title=workload.title,
        unit=workload.unit,
        higher_is_better=workload.higher_is_better,
        series={name: middle(found) for name, found in rounds.items()},
        rounds=rounds,
        goals=[judge(goal, taken, middle, workload.higher_is_better) for goal in goals],
        skipped=skipped,
        notes=list(workload.notes),
        seconds=seconds,
    )


def judge(goal: Goal, taken: Sequence[Values], middle: Any, higher_is_better: bool) -> GoalResult:
    """Compute the value of a goal in each round, then the median of these values."""
    found = [value for values in taken if (value := goal.value(values)) is not None]
    value = float(middle(found)) if found else None

    def reached(limit: float | None) -> bool | None:
        if limit is None or value is None:
            return None
        return value >= limit if higher_is_better else value <= limit

    return GoalResult(
        title=goal.title,
        is_ratio=bool(goal.against) and not goal.minus,
        must=goal.must,
        aim=goal.aim,
        value=value,
        rounds=found,
        must_is_met=reached(goal.must),
        aim_is_met=reached(goal.aim),
        against=goal.against,
    )


def last_line(error: Exception) -> str:
    """What an error says, without the traceback that a worker sends."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def say(text: str) -> None:
    """A line for whoever waits."""
    print(text, file=sys.stderr, flush=True)
