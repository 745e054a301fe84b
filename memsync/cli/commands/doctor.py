"""``memsync doctor``: what is in the folder, and what is wrong with it."""

from __future__ import annotations

from typing import Any

from ...options import check_name
from ..doctor.checks import check, is_well
from ..doctor.collect import collect
from ..doctor.report import print_findings, print_json
from ..exits import NEGATIVE
from ..output import Output


def run(arguments: Any, out: Output) -> int | None:
    name = arguments.name
    facts = collect(name if name is None else check_name(name))
    findings = check(facts)
    if out.as_json:
        print_json(facts, findings)
    else:
        print_findings(findings)
    return None if is_well(findings) else NEGATIVE
