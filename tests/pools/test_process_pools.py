"""Pools of the standard library and of joblib: nothing is lost, and nothing is left behind."""

from __future__ import annotations

import importlib.util
import json
import signal
from pathlib import Path

import pytest

from memsync import MemSync

from .programs import PATIENCE, check_folder, program
from .tasks import NAME

pytestmark = pytest.mark.process

METHODS = ("fork", "spawn", "forkserver")


def run(way: str, method: str, tmp_path: Path, folder: Path) -> None:
    """Run the program, see that it printed a result and nothing else, and check the result."""
    command = ("-W", "error", "-m", "tests.pools.process_pool", way, method)
    with program(*command, cwd=tmp_path) as process:
        process.wait(90)
    log = (tmp_path / "log").read_text()
    assert process.returncode == 0, log
    seen = json.loads(log)
    tasks, jobs = seen["tasks"], list(range(1000))
    assert tasks >= 3 * len(seen["arrivals"])
    assert seen["n"] == tasks
    assert seen["killed"] == len(seen["arrivals"])
    assert sorted(seen["done"]) == jobs[:tasks]
    assert seen["jobs"] == jobs[tasks:]
    check_folder(folder)


ALL = [m if m == "fork" else pytest.param(m, marks=pytest.mark.slow) for m in METHODS]


@pytest.mark.parametrize("method", ALL)
def test_pool(tmp_path: Path, folder: Path, method: str) -> None:
    run("pool", method, tmp_path, folder)


@pytest.mark.parametrize("method", ALL)
def test_executor(tmp_path: Path, folder: Path, method: str) -> None:
    run("executor", method, tmp_path, folder)


@pytest.mark.parametrize("method", ALL)
def test_process(tmp_path: Path, folder: Path, method: str) -> None:
    run("process", method, tmp_path, folder)


def test_fork(tmp_path: Path, folder: Path) -> None:
    run("fork", "fork", tmp_path, folder)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("joblib") is None, reason="joblib is not installed")
@pytest.mark.parametrize("way", ["joblib", "loky"])
def test_joblib(tmp_path: Path, folder: Path, way: str) -> None:
    run(way, "loky", tmp_path, folder)


@pytest.mark.parametrize("method", ALL)
def test_the_host_among_the_workers_is_killed(tmp_path: Path, folder: Path, method: str) -> None:
    """The object lives in the workers only, and the next one gets the place of the dead one."""
    command = ("-W", "error", "-m", "tests.pools.workers_only", method)
    with program(*command, cwd=tmp_path) as process:
        process.wait(90)
    log = (tmp_path / "log").read_text()
    assert process.returncode == 0, log
    seen = json.loads(log.splitlines()[-1])  # before it, a slow recovery may have been logged
    assert (seen["n"], len(seen["dead"])) == (60, 3)
    assert sorted(seen["done"]) == list(range(60))
    # The end of the pool kills its workers; the next group clears up after them.
    with MemSync(NAME) as mem:
        assert mem.get_status()["status"] == "host"
    check_folder(folder)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ["pool", "executor"])
def test_ctrl_c(tmp_path: Path, folder: Path, how: str, method: str) -> None:
    """Each process of the pool is interrupted in the middle of its writes, and all end."""
    with program("-m", "tests.pools.endings", how, method, cwd=tmp_path) as process:
        process.wait(PATIENCE)
    assert process.returncode in (-signal.SIGINT, 130)
    assert "KeyboardInterrupt" in (tmp_path / "log").read_text()
    check_folder(folder)


@pytest.mark.parametrize("method", ALL)
def test_a_program_that_closes_neither_pool_nor_handle_ends(
    tmp_path: Path, folder: Path, method: str
) -> None:
    command = ("-W", "error", "-m", "tests.pools.endings", "unclosed", method)
    with program(*command, cwd=tmp_path) as process:
        process.wait(PATIENCE)
    assert (process.returncode, (tmp_path / "log").read_text()) == (0, "")
    check_folder(folder)
