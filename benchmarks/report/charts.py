"""The charts of a run and of the releases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import cycle
from math import ceil

from ..results import GoalResult, Run, WorkloadResult
from .markdown import amount, number
from .svg import BAD, FAINT, GOOD, GRID, INK, OTHER, OWN, Drawing, LogScale

LINE = 22.0  # of text
LETTER = 0.6  # the width of a letter, as a share of the size of the text; few are wider
COLOURS = ("#0969da", "#cf222e", "#1a7f37", "#9a6700", "#8250df", "#bf3989", "#1b7c83", "#57606a")


def cost(workload: WorkloadResult, goal: GoalResult, value: float) -> float | None:
    """A value of a goal as a share of its limit, so that less is better and 1 just meets it.

    0 stands for everything below, too: a difference may be negative.
    """
    limit = goal.must if goal.must is not None else goal.aim
    if not limit or (workload.higher_is_better and value <= 0):
        return None
    return limit / value if workload.higher_is_better else max(value, 0) / limit


def scale_of(shares: Iterable[float], room: float, begin: float, end: float) -> LogScale:
    """A scale for shares that has 0.5 and 2 on it; what is not positive is at its begin."""
    shown = [share for share in shares if share > 0] + [0.5, 2.0]
    return LogScale(min(shown) / room, max(shown) * room, begin, end)


def width_of(words: Iterable[str], size: float = 12) -> float:
    """The room that the widest of some texts takes."""
    return LETTER * size * max(map(len, words), default=0)


def as_measured(workload: WorkloadResult, goal: GoalResult) -> str:
    """The value of a goal beside an axis, whose "x" means another ratio."""
    if goal.is_ratio and goal.value is not None:
        return f"ratio {number(goal.value)}"
    return amount(goal, workload, goal.value)


def measured(run: Run) -> Iterator[tuple[WorkloadResult, GoalResult, float]]:
    """The goals that can be drawn, with their shares."""
    for workload in run.workloads:
        for goal in workload.goals:
            if goal.value is not None and (share := cost(workload, goal, goal.value)) is not None:
                yield workload, goal, share


def goals(run: Run) -> str:
    """How far each goal is from its limit: a line each, the limit in the middle."""
    rows = list(measured(run))
    texts = [as_measured(workload, goal) for workload, goal, _ in rows]
    left, right, top = 470.0, max(width_of(texts) + 24, 130.0), 78.0
    width = 970.0 + right
    height = top + LINE * max(len(rows), 1) + 40
    drawing = Drawing(width, height, "memsync: what was measured, and what it must reach")
    drawing.write(16, 26, f"memsync {run.release}: measured to demanded", size=16, bold=True)
    drawing.write(
        16,
        46,
        "1 x just meets the must, or the aim where there is none; left is better. | is the aim. "
        "What is 0 or less is at the left edge.",
        colour=FAINT,
    )
    scale = scale_of((share for _, _, share in rows), 1.3, left, width - right)
    drawing.write(width - right + 12, top - 14, "measured", colour=FAINT, size=11)
    bottom = top + LINE * len(rows)
    for tick in scale.ticks():
        drawing.line(scale(tick), top - 8, scale(tick), bottom, INK if tick == 1 else GRID)
        drawing.write(scale(tick), top - 14, f"{tick:g} x", colour=FAINT, size=11, anchor="middle")
    for index, (workload, goal, share) in enumerate(rows):
        y = top + LINE * (index + 0.5)
        colour = GOOD if share <= 1 else BAD
        label = f"{workload.name}: {goal.title}"
        drawing.write(left - 12, y + 4, label, size=12, anchor="end")
        drawing.line(scale(1.0), y, scale(share), y, colour, 2)
        drawing.dot(scale(share), y, colour)
        if goal.must is not None and goal.aim is not None:
            x = scale(cost(workload, goal, goal.aim) or 1.0)
            drawing.line(x, y - 7, x, y + 7, INK, 2)
        drawing.write(width - right + 12, y + 4, texts[index], size=12, colour=colour)
    return drawing.text()


def systems(run: Run) -> str:
    """The values of all systems: a panel for each workload, with a scale of its own."""
    panels = [workload for workload in run.workloads if workload.series]
    left, right, width = 230.0, 110.0, 820.0
    heights = [LINE * len(panel.series) + 74 for panel in panels]
    drawing = Drawing(width, sum(heights) + 44, "memsync beside its alternatives")
    drawing.write(16, 26, f"memsync {run.release} beside its alternatives", size=16, bold=True)
    top = 44.0
    for panel, height in zip(panels, heights, strict=True):
        draw_panel(drawing, panel, top, left, width - right)
        top += height
    return drawing.text()


def draw_panel(
    drawing: Drawing, panel: WorkloadResult, top: float, left: float, right: float
) -> None:
    values = {name: value for name, value in panel.series.items() if value > 0}
    better = "more is better" if panel.higher_is_better else "less is better"
    drawing.write(16, top + 18, panel.title, size=13, bold=True)
    drawing.write(16, top + 34, f"{panel.unit}, logarithmic; {better}", size=11, colour=FAINT)
    if not values:
        return
    scale = LogScale(min(values.values()) / 2, max(values.values()) * 1.2, left, right)
    first = top + 58
    for tick in scale.ticks():
        drawing.line(scale(tick), first - 4, scale(tick), first + LINE * len(panel.series))
        drawing.write(scale(tick), first - 8, number(tick), size=10, colour=FAINT, anchor="middle")
    for index, (name, value) in enumerate(panel.series.items()):
        y = first + LINE * index
        drawing.write(left - 10, y + 14, name, anchor="end", bold=is_own(name))
        if value > 0:
            length = scale(value) - left
            drawing.bar(left, y + 3, length, LINE - 7, OWN if is_own(name) else OTHER)
        drawing.write((scale(value) if value > 0 else left) + 6, y + 14, number(value), size=11)


def is_own(series: str) -> bool:
    return series.startswith("memsync") or series.endswith("spin")


def history(runs: list[Run]) -> str:
    """How each goal has moved from release to release, as a share of its limit."""
    lines: dict[str, dict[int, float]] = {}
    for index, run in enumerate(runs):
        for workload, goal, share in measured(run):
            lines.setdefault(f"{workload.name}: {goal.title}", {})[index] = share
    left, right, top, width = 60.0, 400.0, 70.0, 1100.0
    bottom = max(top + 18 * len(lines), top + 300)
    drawing = Drawing(width, bottom + 50, "memsync: measured to demanded, by release")
    drawing.write(16, 26, "memsync: measured to demanded, by release", size=16, bold=True)
    drawing.write(
        16,
        46,
        "1 x just meets the must (or the aim where there is none); lower is better. "
        "What is 0 or less is at the lower edge.",
        colour=FAINT,
    )
    shares = [share for line in lines.values() for share in line.values()]
    scale = scale_of(shares, 1.2, bottom, top)
    for tick in scale.ticks():
        y = scale(tick)
        drawing.line(left, y, width - right, y, INK if tick == 1 else GRID)
        drawing.write(left - 8, y + 4, f"{tick:g} x", size=11, colour=FAINT, anchor="end")
    step = (width - right - left - 80) / max(len(runs) - 1, 1)
    places = [left + 40 + step * index for index in range(len(runs))]
    names = [run.release for run in runs]
    every = ceil((width_of(names) + 8) / step)
    for index in range(len(runs) - 1, -1, -every):  # the last one always has its name
        drawing.write(places[index], bottom + 22, names[index], anchor="middle")
    ends: list[tuple[float, str, str]] = []
    for (label, line), colour in zip(lines.items(), cycle(COLOURS), strict=False):
        points = [(places[index], scale(share)) for index, share in line.items()]
        drawing.path(points, colour)
        for x, y in points:
            drawing.dot(x, y, colour, 3)
        ends.append((points[-1][1], label, colour))
    ends.sort()
    heights = spread([y for y, _, _ in ends], 17, bottom)
    for (y, label, colour), height in zip(ends, heights, strict=True):
        drawing.line(places[-1] + 6, y, width - right + 8, height, GRID)
        drawing.write(width - right + 12, height + 4, label, size=11, colour=colour)
    return drawing.text()


def spread(wanted: list[float], apart: float, last: float) -> list[float]:
    """Heights near the wanted ones, which ascend, with room for a label each."""
    heights: list[float] = []
    for height in wanted:
        heights.append(max(height, heights[-1] + apart) if heights else height)
    for index in reversed(range(len(heights))):
        heights[index] = min(heights[index], last)
        last = heights[index] - apart
    return heights
