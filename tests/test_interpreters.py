"""The default interpreter runs all tests, the others a sample of those that cannot differ."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .interpreters import EVERY, EVERYWHERE, NEWEST, PORTABLE, PROCESSES, marks

ROOT = Path(__file__).parent.parent
TESTS = list((ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("beginning", [*PORTABLE, *NEWEST, *PROCESSES, *EVERYWHERE])
def test_the_rules_name_tests_that_exist(beginning: str) -> None:
    assert any(f"{path.relative_to(ROOT)}".startswith(beginning) for path in TESTS)


@pytest.mark.parametrize(
    ("file", "mark"),
    [("tests/document/test_a.py", "portable"), ("tests/memory/test_a.py", "newest")],
)
def test_the_first_test_of_a_file_and_one_of_ten_others_run_everywhere(
    file: str, mark: str
) -> None:
    found = marks(f"{file}::test_{number}" for number in range(2 * EVERY))
    assert found == [None, *[mark] * (EVERY - 1)] * 2


@pytest.mark.parametrize("file", ["tests/manager/test_a.py", EVERYWHERE[0], "memsync/handle.py"])
def test_what_can_differ_runs_everywhere(file: str) -> None:
    assert marks(f"{file}::test_{number}" for number in range(EVERY)) == [None] * EVERY


@pytest.mark.parametrize("beginning", PROCESSES)
def test_one_of_three_tests_of_processes_runs_between_the_default_and_the_newest(
    beginning: str,
) -> None:
    found = marks(f"{beginning}test_a.py::test_{number}" for number in range(6))
    assert found == [None, "newest", "newest"] * 2


def test_tox_leaves_out_the_tests_that_have_the_mark() -> None:
    program = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q"]
    found = subprocess.run(
        [*program, "-m", "not slow and not portable", "tests/document/test_sizes.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    names = [line for line in found.stdout.splitlines() if "::" in line]
    assert names, found.stdout
    assert "deselected" in found.stdout
