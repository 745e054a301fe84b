"""The command line, with real processes in a quick run."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cli, machine
from benchmarks.cli import in_order, main
from benchmarks.model import Workload
from benchmarks.results import Run, WorkloadResult, load, save
from benchmarks.systems.redis_server import Server
from benchmarks.workloads import ALL
from memsync.testing import until
from tests.chaos.leftovers import below, process
from tests.cli.command import default_hang_up

ROOT = Path(__file__).parents[2]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks", *arguments]


def test_the_list_names_all_workloads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(ALL)


def complete(quick: bool = False) -> Run:
    """A result of each workload, in which nothing was measured."""
    results = [WorkloadResult(name, name, "us", False, {}, {}, [], {}, [], 1.0) for name in ALL]
    return Run("1.0", "2026-01-01", quick, machine.facts(), results)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where kept results are; a run measures nothing."""
    monkeypatch.setattr(cli, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(cli, "preload", lambda: None)
    monkeypatch.setattr(cli, "run", lambda workload, *_: nothing_of(workload.name))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return tmp_path / "kept"


def nothing_of(name: str) -> WorkloadResult:
    return WorkloadResult(name, name, "us", False, {}, {}, [], {}, [], 1.0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--only", "nothing"],
        ["--rounds", "0"],
        ["--rounds", "x"],
        ["--quick", "--keep", "1.0"],
        ["--quick", "--check"],
        ["--keep", "1.0", "--only", "read"],
        ["--base", "no/such/folder"],
        ["--out", __file__],
        *(["--keep", name] for name in ("../esc", "a/b", "", ".", "..", "-x", "a b", ".hidden")),
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
    run = complete()
    results = run.workloads
    run.workloads = results[1:]
    assert not cli.keep(run, "1.0")
    assert results[0].name in capsys.readouterr().err
    run.workloads = results
    assert cli.keep(run, "1.0")
    assert {path.name for path in tmp_path.iterdir()} == {"1.0.json", "history.svg"}


def test_neither_quick_nor_failed_results_are_kept(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = complete()
    failed.workloads[1].skipped = {failed.workloads[1].name: "failed: it broke"}
    for run, reason in ((failed, failed.workloads[1].name), (complete(quick=True), "quick")):
        assert not cli.keep(run, "1.0")
        assert reason in capsys.readouterr().err
    assert not folder.exists()


def test_a_kept_result_is_not_replaced_in_silence(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.keep(complete(), "1.0")
    assert "replaces" not in capsys.readouterr().err
    assert cli.keep(complete(), "1.0")
    assert f"replaces the result of 1.0 in {folder / '1.0.json'}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("earlier", "arguments", "reason"),
    [
        ({"quick": True}, [], "is of a quick run"),
        ({}, ["--quick"], "is of a full run"),
        ({"machine": {**machine.facts(), "cpus": 999}}, [], "was measured with another cpus"),
    ],
)
def test_only_results_of_one_kind_are_put_together(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    earlier: dict[str, Any],
    arguments: list[str],
    reason: str,
) -> None:
    save(replace(complete(), **earlier), tmp_path / "result.json")
    before = (tmp_path / "result.json").read_bytes()
    with pytest.raises(SystemExit):
        main(["--add", "--only", "read", "--out", str(tmp_path), *arguments])
    error = capsys.readouterr().err
    assert str(tmp_path / "result.json") in error
    assert reason in error
    assert (tmp_path / "result.json").read_bytes() == before


def test_parts_of_one_kind_are_put_together_and_keep_their_dates(
    folder: Path, tmp_path: Path
) -> None:
    run = complete()
    for workload in run.workloads:
        workload.date = "2026-01-01"
    save(run, tmp_path / "result.json")
    assert main(["--add", "--only", "read", "--out", str(tmp_path)]) == 0
    found = load(tmp_path / "result.json").workloads
    assert [each.date for each in found if each.name != "read"] == ["2026-01-01"] * (len(ALL) - 1)
    assert "Measured on 2026-01-01" in (tmp_path / "result.md").read_text()


BROKEN = [b"", b'{"release": "1.0", "workl', b"[]", b"null", b"\xff\xfe", b"{}"]


@pytest.mark.parametrize("content", BROKEN)
@pytest.mark.parametrize("kept", [True, False])
def test_a_broken_result_is_named_before_anything_is_measured(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    kept: bool,
) -> None:
    monkeypatch.setattr(cli, "run", lambda *_: pytest.fail("it measures"))
    path = folder / "1.0.json" if kept else tmp_path / "result.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(SystemExit):
        main(["--add", "--out", str(tmp_path)])
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"{path} holds no result" in last
    assert "remove it" in last
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["result.json", "result.md", "goals.svg", "kept/1.0.json"])
def test_a_folder_in_the_place_of_a_file_is_named_before_anything_is_measured(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    monkeypatch.setattr(cli, "run", lambda *_: pytest.fail("it measures"))
    (tmp_path / name).mkdir(parents=True)
    with pytest.raises(SystemExit):
        main(["--keep", "1.0", "--out", str(tmp_path)])
    assert f"{tmp_path / name} is a folder" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", ["result.json", "systems.svg", "1.0.json", "history.svg"])
def test_a_full_disk_leaves_the_older_file_and_is_one_line(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    older = [tmp_path / "result.json", folder / "1.0.json"]
    save(complete(), older[0])
    save(complete(), older[1])
    before = [path.read_bytes() for path in older]
    write_bytes = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if content and name in path.name:
            write_bytes(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(["--keep", "1.0", "--out", str(tmp_path)]) == 1
    assert f"{name} cannot be written (No space left on device)" in capsys.readouterr().err
    for path, content in zip(older, before, strict=True):
        assert path.read_bytes() == content or path.name != name
        load(path)
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("script", ["exit 1", "echo nothing", "printf '\\377'; kill -9 $$"])
def test_a_broken_redis_server_does_not_end_the_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    program = tmp_path / "redis-server"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert machine.facts()["redis-server"] == "unknown"
    with pytest.raises(RuntimeError, match="redis-server has ended"):
        Server(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("abc", "'abc' is no whole number: give one from 1 on"),
        ("1.5", "'1.5' is no whole number: give one from 1 on"),
        ("", "'' is no whole number: give one from 1 on"),
        ("-1", "-1 is too low: give a number from 1 on"),
    ],
)
def test_a_wrong_number_of_rounds_is_named(
    capsys: pytest.CaptureFixture[str], text: str, reason: str
) -> None:
    with pytest.raises(SystemExit):
        main([f"--rounds={text}"])
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("first", ["read", "spin"])
def test_ctrl_c_says_where_the_report_is(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    first: str,
) -> None:
    def interrupted(workload: Workload, *_: Any) -> WorkloadResult:
        if workload.name == "spin":
            raise KeyboardInterrupt
        return nothing_of(workload.name)

    monkeypatch.setattr(cli, "run", interrupted)
    assert main(["--only", first, "spin", "--out", str(tmp_path)]) == 130
    is_there = first == "read"
    said = f"the report so far is in {tmp_path}" if is_there else "nothing was measured"
    assert capsys.readouterr().err.splitlines()[-1] == f"interrupted: {said}"
    assert (tmp_path / "result.json").exists() is is_there


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
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_process_outlives_the_benchmark(tmp_path: Path, number: signal.Signals) -> None:
    arguments = command("--only", "increment", "--out", str(tmp_path))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with default_hang_up():
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


def test_two_runs_that_add_to_one_report_keep_each_others_workloads(tmp_path: Path) -> None:
    names = list(ALL)[:4]
    first, second = complete(), complete()
    first.workloads, second.workloads = first.workloads[:3], second.workloads[1:4]
    for run, date in ((first, "first"), (second, "second")):
        for workload in run.workloads:
            workload.date = date
    cli.write_report(first, tmp_path, set(names[:2]))
    cli.write_report(second, tmp_path, set(names[1:]))
    first.workloads = first.workloads[:2]
    cli.write_report(first, tmp_path, set(names[:1]))  # it has read the second one before
    found = {each.name: each.date for each in load(tmp_path / "result.json").workloads}
    assert found == dict(zip(names, ["first", "second", "second", "second"], strict=True))


def test_memsync_is_measured_with_its_defaults(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MEMSYNC_NETWORK_SPIN", "0")
    cli.forget_options()
    assert "MEMSYNC_NETWORK_SPIN is left out" in capsys.readouterr().err
    assert not any(name.startswith("MEMSYNC_") for name in os.environ)


@pytest.mark.process
def test_a_redis_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    if shutil.which("redis-server") is None or sys.platform != "linux":
        pytest.skip("needs redis-server on Linux")
    source = (
        "import signal, sys; from pathlib import Path\n"
        "from benchmarks.systems.redis_server import Server\n"
        "print(Server(Path(sys.argv[1]))._process.pid, flush=True); signal.pause()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", source, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        server = process(int(program.stdout.readline()))
        program.kill()
    until(lambda: not server.is_running(), 30)
