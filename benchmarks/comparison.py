"""A result beside an older one: what has fallen behind, and what cannot be compared."""

from __future__ import annotations

import math
from collections.abc import Iterator

from .report.markdown import BUSY, amount, busy
from .results import GoalResult, Run, WorkloadResult

BEHIND = 1.15  # how much worse a value may get before it is reported
SAME = ("cpus", "processor", "kernel", "python")  # where these are equal, times can be compared


def behind(new: Run, old: Run) -> Iterator[str]:
    """What is more than 15 % worse than in an older run, or is no longer measured.

    Ratios are compared between any two machines, other values on one machine only.
    """
    one_machine = not changed_facts(new, old)
    older = {workload.name: workload for workload in old.workloads}
    for workload in new.workloads:
        if workload.name not in older or not older[workload.name].series:
            continue
        if reason := workload.skipped.get(workload.name):  # nothing of it was measured
            yield f"{workload.name}: {reason}; it was measured in {old.release}"
            continue
        before = {goal.title: goal for goal in older[workload.name].goals}
        for goal in workload.goals:
            found = before.get(goal.title)
            if found and (line := compared(workload, goal, found, old.release, one_machine)):
                yield f"{workload.name}: {goal.title} {line}"
        titles = {goal.title for goal in workload.goals}
        for title, found in before.items():
            if title not in titles and (found.must or found.aim):
                yield f"{workload.name}: {title} is no longer measured; it was in {old.release}"


def compared(
    workload: WorkloadResult, goal: GoalResult, before: GoalResult, release: str, one_machine: bool
) -> str:
    """How a goal has fallen behind; empty if it has not, or if that cannot be known."""
    if before.value is None:
        return ""
    was = f"was {amount(before, workload, before.value)} in {release}"
    if goal.value is None:
        why = workload.skipped.get(goal.against, "")
        return f"is not measured{why and f' ({why})'}, and {was}"
    factor = worse_by(workload, goal, before.value)
    if factor <= BEHIND or not (goal.is_ratio or one_machine):
        return ""
    line = f"is {amount(goal, workload, goal.value)}, and {was}: {100 * (factor - 1):.0f} % worse"
    if (workload.busy_before or 0) > BUSY:
        line += f". {busy(workload)} Measure again when the machine is idle"
    return line


def worse_by(workload: WorkloadResult, goal: GoalResult, old: float) -> float:
    """How many times worse a value is than an older one.

    A difference may be near zero or below it, so the other side is added to it.
    """
    new = goal.value or 0.0
    if goal.against and not goal.is_ratio:
        other = workload.series[goal.against]
        new, old = new + other, old + other
    if workload.higher_is_better:
        new, old = old, new
    if old > 0:
        return new / old
    return math.inf if new > old else 1.0


def changed_facts(new: Run, old: Run) -> list[str]:
    """What differs between the machines of two runs, as far as times depend on it."""
    return [
        f"{name} {new.machine.get(name)}, then {old.machine.get(name)}"
        for name in SAME
        if new.machine.get(name) != old.machine.get(name)
    ]


def warning(new: Run, old: Run) -> str:
    """What is to know before two runs are compared; empty if the machine is the same."""
    changed = changed_facts(new, old)
    if not changed:
        return ""
    return (
        f"{old.release} was measured elsewhere ({'; '.join(changed)}): "
        "ratios may differ for that, and only ratios are compared"
    )
