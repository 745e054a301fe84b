"""Running the programs which the pages of the project show."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def programs_in(page: Path) -> list[str]:
    """The Python programs in a page; doctests are not among them."""
    found = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [program for program in found if not program.startswith(">>>")]


def is_test(program: str) -> bool:
    """Whether a program is meant for pytest."""
    return re.search(r"^def test_", program, re.MULTILINE) is not None


def run_tests(program: str, folder: Path) -> None:
    """Run a program's tests as a user would; all have to pass, without a warning."""
    script = folder / "test_program.py"
    script.write_text(program)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", str(script)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def run_program(program: str | Path, folder: Path) -> str:
    """Run a program (its text, or its file) as a user would; returns what it prints.

    It has to end well and to print nothing to its error output.
    """
    if isinstance(program, str):
        # A file, since what spawn starts imports its main program again.
        script = folder / "program.py"
        script.write_text(program)
    else:
        script = program
    result = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout
