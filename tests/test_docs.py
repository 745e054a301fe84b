"""The programs in docs/ run, and the pages name tests, files and states that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from memsync.manager.states import TRANSITIONS, PeerState

from .doc_programs import is_test, programs_in, run_program, run_tests

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
PROGRAMS = [(page.name, program) for page in PAGES for program in programs_in(page)]


def test_there_are_programs() -> None:
    assert {"conflicts.md", "testing.md"} <= {name for name, _ in PROGRAMS}


@pytest.mark.process
@pytest.mark.parametrize(("name", "program"), PROGRAMS)
def test_each_program_runs(name: str, program: str, tmp_path: Path) -> None:
    if is_test(program):
        run_tests(program, tmp_path)
    else:
        run_program(program, tmp_path)


def test_the_tests_that_check_the_guarantees_exist() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text()
    names = set(re.findall(r"`(?:tests/\w+/)?(test_\w+\.py)`", text))
    assert len(names) > 5
    there = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert names <= there, names - there


def test_the_tests_that_pages_name_with_their_file_exist() -> None:
    text = "".join(page.read_text() for page in PAGES)
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(named) > 15
    for file, test in named:
        assert f"\ndef {test}(" in (ROOT / file).read_text(), f"{file}::{test}"


def test_every_link_between_the_pages_leads_somewhere() -> None:
    for page in [*PAGES, *ROOT.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_files_that_architecture_and_contributing_name_exist() -> None:
    there = [p.relative_to(ROOT).as_posix() for p in ROOT.rglob("*.py")]
    made_by_the_reader = re.compile(r"(^|/)(test_)?notes?(_kind)?\.py$|/NAME/")
    for page in ("ARCHITECTURE.md", "CONTRIBUTING.md"):
        text = (ROOT / page).read_text()
        for name in re.findall(r"`([\w/]+\.py)`", text):
            if not made_by_the_reader.search(name):
                assert any(f"/{path}".endswith(f"/{name}") for path in there), f"{page}: {name}"


def test_the_table_of_states_is_that_of_the_code() -> None:
    table = (ROOT / "ARCHITECTURE.md").read_text().partition("| state | event | next state |\n")[2]
    rows = set()
    for line in table.splitlines()[1:]:
        if not line.startswith("|"):
            break
        names, event, target = (cell.strip() for cell in line.strip("|").split("|"))
        every = {state.value for state in PeerState}
        if names.startswith("any but "):
            states = every - set(names.removeprefix("any but ").split(" and "))
        else:
            states = set(names.split(", "))
        rows |= {(state, event, target) for state in states}
    assert rows == {(s.value, event.value, to.value) for (s, event), to in TRANSITIONS.items()}
