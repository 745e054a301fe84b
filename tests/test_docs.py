"""The programs in docs/ run, and its pages name tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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


def test_every_link_between_the_pages_leads_somewhere() -> None:
    for page in [*PAGES, *ROOT.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
