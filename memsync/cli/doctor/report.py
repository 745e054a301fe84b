"""Report findings: lines for people, with colours if rich is installed, or JSON for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from .checks import Finding, is_well

_STYLES = {"ok": "green", "note": "yellow", "wrong": "bold red"}
_MARKS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


def print_findings(findings: list[Finding]) -> None:
    """Print the findings by what they are about; the last line sums them up."""
    try:
        if os.environ.get("NO_COLOR"):  # rich would still print bold type
            raise ModuleNotFoundError
        from rich.console import Console
        from rich.text import Text
    except ModuleNotFoundError:
        for mark, _, text in _lines(findings):
            print(mark + text)
        return
    console = Console(soft_wrap=True, highlight=False)
    for mark, style, text in _lines(findings):
        console.print(Text.assemble((mark, style), text))


def print_json(facts: dict[str, Any], findings: list[Finding]) -> None:
    """Print facts and findings as one JSON object, on one line."""
    listed = [finding._asdict() for finding in findings]
    print(json.dumps({"well": is_well(findings), "findings": listed, "facts": facts}))


def _lines(findings: list[Finding]) -> Iterator[tuple[str, str, str]]:
    """Lines in two parts, the first of which has a style."""
    for about, group in groupby(findings, key=lambda finding: finding.about):
        yield about, "bold", ""
        for finding in group:
            yield f"  {_MARKS[finding.level]}", _STYLES[finding.level], f" {finding.text}"
            if finding.advice:
                yield "", "", f"        -> {finding.advice}"
    wrong = sum(finding.level == "wrong" for finding in findings)
    summary = f"{wrong} problem{'s' if wrong > 1 else ''} found" if wrong else "all is well"
    yield summary, _STYLES["wrong" if wrong else "ok"], ""
