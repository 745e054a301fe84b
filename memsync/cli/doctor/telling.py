"""How findings are told: lines for people, JSON for machines."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import groupby

from rich.console import Console
from rich.text import Text

from .facts import Facts
from .findings import Finding, is_well

_MARKS = {"fine": ("ok   ", "green"), "note": ("note ", "yellow"), "wrong": ("WRONG", "bold red")}


def tell(findings: list[Finding]) -> None:
    """Print the findings for people, the last line says whether all is well."""
    console = Console(soft_wrap=True, highlight=False)
    for about, group in groupby(findings, key=lambda finding: finding.about):
        console.print(Text(about, style="bold"))
        for finding in group:
            mark, style = _MARKS[finding.level]
            console.print(Text.assemble("  ", (mark, style), " ", finding.text))
            if finding.advice:
                console.print(Text(f"        -> {finding.advice}"))
    wrong = sum(finding.level == "wrong" for finding in findings)
    console.print(Text("all is well" if not wrong else f"{wrong} to be looked at"))


def to_json(facts: Facts, findings: list[Finding]) -> str:
    """Facts and findings in one JSON object."""
    told = {
        "well": is_well(findings),
        "findings": [asdict(finding) for finding in findings],
        "facts": asdict(facts),
    }
    return json.dumps(told, indent=1)
