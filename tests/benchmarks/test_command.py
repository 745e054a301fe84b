"""The command line, with real processes in a quick run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import cli
from benchmarks.cli import in_order, main
from benchmarks.results import Run, WorkloadResult, load
from benchmarks.workloads import ALL
from memsync.testing import until
from tests.chaos.leftovers import below, process

ROOT = Path(__file__).parents[2]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks", *arguments]


def test_the_list_names_all_workloads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(ALL)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--only", "nothing"],
        ["--rounds", "0"],
        ["--rounds", "x"],
        ["--quick", "--keep", "1.0"],
        ["--quick", "--check"],
        ["--base", "no/such/folder"],
        ["--out", __file__],
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)


def test_each_goal_has_a_limit_and_each_name_a_title() -> None:
    for name, workload in ALL.items():
        assert workload.name == name
        assert workload.title
        assert workload.rounds >= 3
        limits = [limit for goal in workload.goals for limit in (goal.must, goal.aim)]
        assert any(limits) or not workload.goals


def test_a_result_replaces_an_older_one_of_its_workload() -> None:
    def result(name: str, unit: str = "us") -> WorkloadResult:
        return WorkloadResult(name, name, unit, False, {}, {}, [], {}, [], 1.0)

    found = in_order([result("read", "new"), result("spin"), result("read", "old")])
    assert [(each.name, each.unit) for each in found] == [("read", "new"), ("spin", "us")]


def test_only_a_complete_result_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "KEPT", tmp_path)
    results = [WorkloadResult(name, name, "us", False, {}, {}, [], {}, [], 1.0) for name in ALL]
    run = Run("1.0", "2026-01-01", quick=False, machine={}, workloads=results[1:])
    assert not cli.keep(run, "1.0")
    assert results[0].name in capsys.readouterr().err
    run.workloads = results
    assert cli.keep(run, "1.0")
    assert {path.name for path in tmp_path.iterdir()} == {"1.0.json", "history.svg"}


def test_a_check_needs_a_kept_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cli, "KEPT", tmp_path)
    with pytest.raises(SystemExit):
        main(["--check", "--out", str(tmp_path)])


@pytest.mark.process
def test_a_quick_run_writes_its_report(tmp_path: Path) -> None:
    arguments = command("--quick", "--rounds", "1", "--only", "increment", "--out", str(tmp_path))
    arguments += ["--base", str(ROOT)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    (workload,) = load(tmp_path / "result.json").workloads
    assert {"memsync", "memsync, base", "Manager: dict"} <= set(workload.series)
    assert workload.goals[0].value is not None
    assert {path.name for path in tmp_path.iterdir()} == {
        "result.json", "result.md", "goals.svg", "systems.svg"
    }  # fmt: skip


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_benchmark(tmp_path: Path, number: signal.Signals) -> None:
    arguments = command("--only", "increment", "--out", str(tmp_path))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    program = subprocess.Popen(
        arguments, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until(lambda: len(list(below(program.pid))) >= 6, 60)
        started = list(below(program.pid))
        program.send_signal(number)
        program.wait(30)
        until(lambda: not any(each.is_running() for each in started), 60)
    finally:
        program.kill()
        program.wait()
    assert not process(program.pid).is_running()
