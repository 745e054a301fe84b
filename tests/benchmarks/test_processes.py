"""A process of the benchmark that hangs ends its workload, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import operator, os, signal, sys, time
from benchmarks import processes
from benchmarks.processes import Worker, WorkerFailed

if __name__ == "__main__":
    hung, well = Worker(os.getpid, system="Redis"), Worker(os.getpid)
    hung.result(), well.result()  # both have started
    processes.DEADLINE = processes.PATIENCE = 0.5
    hung.begin(*{call})
    well.begin(operator.pos)
    try:
        hung.result()
    except WorkerFailed as error:
        print(str(error).replace(str(hung.pid), "PID"))
    processes.DEADLINE = 60
    print(well.result() == well.pid)
    hung.close(), well.close()
    print(hung._process.exitcode)
"""


@pytest.mark.process
@pytest.mark.parametrize("call", ["(os.kill, signal.SIGSTOP)", "(time.sleep,)"])
def test_a_worker_that_hangs_is_named_and_ended(tmp_path: Path, call: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("{call}", call))
    command = [sys.executable, str(program)]
    found = subprocess.run(
        command,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.stdout.splitlines() == [
        "process PID of Redis has not answered for 0.5 s", "True", "-9"
    ], found.stderr  # fmt: skip
