"""What a run says about the last one that was kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cli
from benchmarks.comparison import behind, warning
from benchmarks.model import Bench, Goal, Workload
from benchmarks.processes import WorkerFailed
from benchmarks.results import Run, has_failed
from benchmarks.runner import run, summary
from benchmarks.systems import Client, System, base, open_groups

from .test_results import Broken, Fake, Missing, Rate, run_of


class Value(Fake):
    unit = "ms"
    goals = (Goal(must=10.0),)


class ValueOfRate(Rate):
    goals = (Goal(must=10.0),)


class Difference(Fake):
    unit = "ms"
    goals = (Goal(against="other", must=10.0, minus=True),)


def pair(workload: Workload, old: float, new: float) -> tuple[Run, Run]:
    before = run_of({"memsync": old, "other": 1.0}, workload=workload)
    after = run_of({"memsync": new, "other": 1.0}, workload=workload)
    return after, before


CASES = [
    (Fake(), 1.0, 1.149, 0),
    (Fake(), 1.0, 1.151, 1),
    (Fake(), 1.0, 0.5, 0),
    (Rate(), 1.0, 0.8, 1),
    (Rate(), 1.0, 1.5, 0),
    (Rate(), 1.0, 0.0, 1),
    (Value(), 8.0, 9.1, 0),
    (Value(), 8.0, 24.0, 1),
    (Value(), 0.0, 1.0, 1),
    (ValueOfRate(), 300.0, 100.0, 1),
    (ValueOfRate(), 100.0, 300.0, 0),
    (Difference(), 1.0, 1.1, 0),  # 0 ms and 0.1 ms beyond 1 ms of the other
    (Difference(), 0.5, 0.55, 0),
    (Difference(), 0.5, 0.6, 1),
    (Difference(), 1.0, 3.0, 1),
]


@pytest.mark.parametrize(("workload", "old", "new", "count"), CASES)
def test_a_goal_may_fall_behind_by_15_percent(
    workload: Workload, old: float, new: float, count: int
) -> None:
    found = list(behind(*pair(workload, old, new)))
    assert len(found) == count
    assert all(f"fake: {workload.goals[0].title} is" in line and "in 1.0" in line for line in found)


@pytest.mark.parametrize("fact", ["cpus", "processor", "kernel", "python"])
@pytest.mark.parametrize(
    ("workload", "count"), [(Fake(), 1), (Value(), 0), (ValueOfRate(), 0), (Difference(), 0)]
)
def test_another_machine_is_named_and_only_ratios_are_compared(
    fact: str, workload: Workload, count: int
) -> None:
    after, before = pair(workload, 1.0, 0.1 if workload.higher_is_better else 9.0)
    assert warning(after, before) == ""
    before.machine = {**after.machine, fact: "another"}
    assert len(list(behind(after, before))) == count
    assert f"{fact} " in warning(after, before)
    assert "another" in warning(after, before)


def test_a_goal_that_is_no_longer_measured_is_behind() -> None:
    before, after = run_of({"memsync": 1.0, "other": 1.0}), run_of({"memsync": 1.0})
    after.workloads[0].skipped["other"] = "KeyError: {'other'}"
    (line,) = behind(after, before)
    assert line == (
        "fake: memsync to other is not measured (KeyError: {'other'}), and was 1 x in 1.0"
    )
    assert list(behind(before, after)) == []


@pytest.mark.parametrize(
    ("workload", "reason"), [(Broken(), "process 1 has ended"), (Missing(), "not here")]
)
def test_a_workload_that_failed_or_was_left_out_is_behind(workload: Workload, reason: str) -> None:
    before, after = run_of({"memsync": 1.0, "other": 1.0}), run_of()
    after.workloads = [run(workload, 1, quick=True)]
    (line,) = behind(after, before)
    assert "fake: " in line
    assert reason in line
    before.workloads = []
    assert list(behind(after, before)) == []


@pytest.mark.parametrize(("share", "said"), [(None, False), (0.05, False), (0.37, True)])
def test_a_line_says_how_busy_the_machine_was(share: float | None, said: bool) -> None:
    after, before = pair(Fake(), 1.0, 2.0)
    after.workloads[0].busy_before = share
    (line,) = behind(after, before)
    assert ("other programs used 37 % of the CPUs" in line) is said


def test_the_command_says_both(capsys: pytest.CaptureFixture[str]) -> None:
    after, before = pair(Fake(), 1.0, 2.0)
    assert cli.compare(after, before)
    before.machine = {"cpus": 64}
    assert not cli.compare(before, before)
    assert cli.compare(after, before)
    note, line = capsys.readouterr().err.splitlines()[1:]
    assert note.startswith("note: 1.0 was measured elsewhere (cpus 2, then 64)")
    assert line.startswith("behind: fake: memsync to other is 2 x, and was 1 x in 1.0: 100 % worse")


class Dying(System):
    """It serves, but nobody can connect: its server has died."""

    name = "Dying"

    def serve(self) -> Any:
        return None

    def connect(self, number: int) -> Client:
        raise ConnectionError("nobody listens")


class Lame(Dying):
    name = "Lame"

    def serve(self) -> Any:
        raise OSError("no such program")


class HereWorker:
    """A worker without a process."""

    pid = 1

    def __init__(self, make: Callable[..., Any], *arguments: Any, **_: Any) -> None:
        self._make = partial(make, *arguments)

    def result(self) -> None:
        try:
            self._make()
        except Exception as error:
            raise WorkerFailed(f"Traceback:\n{type(error).__name__}: {error}") from None

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("system", "reason", "failed"),
    [
        (Dying(), "started, then broke off: ConnectionError: nobody listens", True),
        (Lame(), "it does not start: OSError: no such program", False),
    ],
)
def test_what_died_is_told_from_what_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: System, reason: str, failed: bool
) -> None:
    monkeypatch.setattr(base, "Worker", HereWorker)
    with ExitStack() as stack:
        bench = Bench(tmp_path, stack)
        assert open_groups(bench, [system], 1) == []
    assert reason in bench.skipped[system.name]
    assert has_failed(summary(Fake(), [], bench.skipped, 1.0)) is failed


def test_a_goal_that_is_no_longer_there_is_told() -> None:
    after, before = pair(Value(), 8.0, 8.0)
    after.workloads[0].goals[0].title = "renamed"
    (line,) = behind(after, before)
    assert "is no longer measured" in line
