"""docs/predecessor.md has a test for each scenario, and the tests that it names exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CHAPTERS = {4, 5, 6, 7, 8, 9}

TABLES = {
    int(number): [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    for number, text in re.findall(
        r"^## Chapter (\d+):(.*?)(?=^## |\Z)",
        (ROOT / "docs" / "predecessor.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
}
NAMED = [(number, row[0], row[-1]) for number, rows in TABLES.items() for row in rows]


def test_each_chapter_has_its_table() -> None:
    assert set(TABLES) == CHAPTERS
    assert all(TABLES.values())


@pytest.mark.parametrize(("chapter", "scenario", "cell"), NAMED)
def test_each_scenario_names_tests_that_exist(chapter: int, scenario: str, cell: str) -> None:
    names = re.findall(r"`([^`]+)`", cell)
    assert names, f"chapter {chapter}: no test for {scenario}"
    for name in names:
        path, _, test = name.partition("::")
        functions = [
            each.name
            for each in ast.parse((ROOT / path).read_text()).body
            if isinstance(each, ast.FunctionDef)
        ]
        assert test in functions, f"chapter {chapter}: {name} does not exist"
        assert test.startswith("test_")
