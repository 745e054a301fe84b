"""The result of a run as data: kept as JSON, and compared with the last one that was kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from .files import FileProblem, write

FAILED = "failed"  # what the reason begins with if an error broke off a workload, or an alternative


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
    against: str = ""  # the other series; older files lack it


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
    """Whether an error broke it off, or an alternative in it."""
    return any(reason.startswith(FAILED) for reason in result.skipped.values())


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
