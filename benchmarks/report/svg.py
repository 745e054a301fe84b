"""Charts as SVG."""

from __future__ import annotations

from ..results import Run


def goals(run: Run) -> str:
    return ""


def systems(run: Run) -> str:
    return ""


def history(runs: list[Run]) -> str:
    return ""
