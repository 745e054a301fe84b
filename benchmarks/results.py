"""The result of a run as data: kept as JSON, and compared with the last one that was kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from .files import FileProblem, write

BEHIND = 1.15  # how much worse a ratio may get before it is reported
FAILED = "failed"  # what the reason begins with if an error broke off a workload


@dataclass
class GoalResult:
    """A goal and what was measured; `value` is a ratio, a difference or the value itself."""

    title: str
    is_ratio: bool
    must: float | None
    aim: float | None
    value: float | None
    rounds: list[float]
    must_is_met: bool | None
    aim_is_met: bool | None


@dataclass
class WorkloadResult:
    """`series` holds one number of each system, in `unit`; `rounds` what it was made from."""

    name: str
    title: str
    unit: str
    higher_is_better: bool
    series: dict[str, float]
    rounds: dict[str, list[float]]
    goals: list[GoalResult]
    skipped: dict[str, str]
    notes: list[str]
    seconds: float
    busy_before: float | None = None  # the share of the CPUs that other programs used
    date: str = ""  # when it was measured; older files lack it


@dataclass
class Run:
    """One run of the benchmark."""

    release: str
    date: str
    quick: bool
    machine: dict[str, Any]
    workloads: list[WorkloadResult]


def has_failed(result: WorkloadResult) -> bool:
    """Whether it was broken off by an error."""
    return result.skipped.get(result.name, "").startswith(FAILED)


def save(run: Run, path: Path) -> None:
    """Write a run as JSON."""
    write(path, msgspec.json.format(msgspec.json.encode(asdict(run)), indent=1) + b"\n")


def load(path: Path) -> Run:
    """Read a run. Raises `FileProblem` if the file does not hold one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Run)
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise FileProblem(
            f"{path} holds no result of the benchmark ({error}): repair or remove it"
        ) from None


def kept(folder: Path) -> list[Run]:
    """The runs that were kept in a folder, the oldest first."""
    return sorted((load(path) for path in folder.glob("*.json")), key=lambda run: run.date)


def behind(new: Run, old: Run) -> Iterator[str]:
    """The ratios that are more than 15 % worse than in an older run."""
    before = {
        (workload.name, goal.title): goal for workload in old.workloads for goal in workload.goals
    }
    for workload in new.workloads:
        for goal in workload.goals:
            other = before.get((workload.name, goal.title))
            if not (goal.is_ratio and goal.value and other and other.value):
                continue
            factor = goal.value / other.value
            if workload.higher_is_better:
                factor = 1 / factor
            if factor > BEHIND:
                yield (
                    f"{workload.name}: {goal.title} is {goal.value:.3g}, and was {other.value:.3g} "
                    f"in {old.release}: {100 * (factor - 1):.0f} % worse"
                )
