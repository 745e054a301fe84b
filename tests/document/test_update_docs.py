"""The examples of `docs/updates.md` run, and there is one for every operator."""

from __future__ import annotations

import doctest
from pathlib import Path

from memsync.document.query.query import FIELD_OPERATORS
from memsync.document.update.plan import OPERATORS

PAGE = Path(__file__).parents[2] / "docs" / "updates.md"


def test_the_examples_run() -> None:
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.attempted > 30
    assert result.failed == 0


def test_every_update_operator_has_an_example() -> None:
    examples = [line for line in PAGE.read_text().splitlines() if line.startswith((">>>", "..."))]
    for name in OPERATORS:
        assert any(f'"{name}"' in line for line in examples), name
    for name in FIELD_OPERATORS:
        assert name.removeprefix("$") in PAGE.read_text() or name == "$options"
