"""The README says what is so: its programs run, and its test command is the one CI runs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from .doc_programs import programs_in, run_program

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PROGRAMS = programs_in(ROOT / "README.md")
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_there_are_programs() -> None:
    assert len(PROGRAMS) >= 3


@pytest.mark.process
@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_each_program_runs(program: str, tmp_path: Path) -> None:
    run_program(program, tmp_path)


def test_each_command_is_one_line() -> None:
    demo, tests = (command.strip() for command in COMMANDS)
    assert "\n" not in demo + tests
    assert "'.[all]'" in demo
    assert demo.endswith("memsync demo")
    assert tests.endswith("tox")


def test_ci_runs_the_test_command_word_for_word() -> None:
    extraction = re.search(r"^command=.*$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert extraction is not None
    result = subprocess.run(
        ["bash", "-c", f'{extraction.group()}\nprintf %s "$command"'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert result.stdout == COMMANDS[1].strip()
