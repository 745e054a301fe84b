"""A small writer of SVG: lines, bars, marks and text, and axes with a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

FONT = "font-family='Helvetica, Arial, sans-serif'"
INK, FAINT, GRID = "#1f2328", "#656d76", "#d8dee4"
GOOD, BAD, OWN, OTHER = "#1a7f37", "#cf222e", "#0969da", "#9aa4af"


class Drawing:
    """Shapes on a white page; `text` returns them as a file."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self._size = width, height
        self._shapes = [f"<title>{escape(title)}</title>"]
        self.bar(0, 0, width, height, "#ffffff")

    def line(
        self, x1: float, y1: float, x2: float, y2: float, colour: str = GRID, width: float = 1
    ) -> None:
        self._shapes.append(
            f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' "
            f"stroke='{colour}' stroke-width='{width:g}'/>"
        )

    def bar(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        self._shapes.append(
            f"<rect x='{x:.1f}' y='{y:.1f}' width='{max(width, 0):.1f}' height='{height:.1f}' "
            f"fill='{colour}'/>"
        )

    def dot(self, x: float, y: float, colour: str, radius: float = 4.5) -> None:
        self._shapes.append(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{radius:g}' fill='{colour}'/>")

    def path(self, points: list[tuple[float, float]], colour: str) -> None:
        found = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._shapes.append(
            f"<polyline points='{found}' fill='none' stroke='{colour}' stroke-width='1.5'/>"
        )

    def write(
        self,
        x: float,
        y: float,
        words: str,
        *,
        colour: str = INK,
        size: float = 12,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        weight = " font-weight='600'" if bold else ""
        self._shapes.append(
            f"<text x='{x:.1f}' y='{y:.1f}' {FONT} font-size='{size:g}' fill='{colour}' "
            f"text-anchor='{anchor}'{weight}>{escape(words)}</text>"
        )

    def text(self) -> str:
        width, height = self._size
        head = (
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:g}' height='{height:g}' "
            f"viewBox='0 0 {width:g} {height:g}'>"
        )
        return "\n".join([head, *self._shapes, "</svg>"]) + "\n"


class LogScale:
    """Maps values to a length, by their logarithms; what is not positive is at the begin."""

    def __init__(self, low: float, high: float, begin: float, end: float) -> None:
        self.low, self.high = low, max(high, low * 1.01)
        self._begin, self._end = begin, end

    def __call__(self, value: float) -> float:
        if value <= 0:
            return self._begin
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self._begin + min(max(share, 0), 1) * (self._end - self._begin)

    def ticks(self) -> Iterator[float]:
        """1, 2 and 5 of each power of ten; the powers alone if those are more than three."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        steps = (1, 2, 5) if last - first <= 3 else (1,)
        for power in range(first, last + 1):
            for step in steps:
                if self.low <= step * 10.0**power <= self.high:
                    yield step * 10.0**power
