"""A test run names a failure when it happens, while other tests still run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

CONFTEST = """
from tests import failures_at_once

def pytest_configure(config):
    failures_at_once.register(config)
"""
# The last tests end only after the output has named those that failed.
TESTS = """
import time
from pathlib import Path
import pytest

@pytest.fixture
def broken():
    raise OSError("no place")

def test_fails(): assert 1 == 2, "not equal"

def test_has_no_fixture(broken): pass

@pytest.mark.parametrize("number", range(3))
def test_waits(number):
    end = time.monotonic() + 60
    while not Path("named").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_failure_is_named_while_other_tests_run(tmp_path: Path, workers: str) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\n")
    command = [sys.executable, "-m", "pytest", "-n", workers, "-p", "no:cacheprovider"]
    program = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    seen: list[str] = []
    assert program.stdout is not None
    with program:
        for line in program.stdout:
            seen.append(line.rstrip())
            if all(any(part in each for each in seen) for part in ("not equal", "no place")):
                (tmp_path / "named").touch()
    text = "\n".join(seen)
    assert program.returncode == 1, text
    assert "FAILED NOW: test_some.py::test_fails" in seen, text
    assert "FAILED NOW: test_some.py::test_has_no_fixture (in its setup)" in seen, text
    assert "3 passed" in text, text
