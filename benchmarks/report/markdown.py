"""The report as text."""

from __future__ import annotations

from ..results import GoalResult, Run, WorkloadResult

BUSY = 0.1  # from this share on, numbers are to be read with care


def number(value: float | None) -> str:
    """A number with three digits that count; a dash for none."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def limit(goal: GoalResult, workload: WorkloadResult, value: float | None) -> str:
    """A must or an aim, with its direction."""
    if value is None:
        return "-"
    sign = "≥" if workload.higher_is_better else "≤"
    return f"{sign} {amount(goal, workload, value)}"


def amount(goal: GoalResult, workload: WorkloadResult, value: float | None) -> str:
    """A value of a goal, with its unit."""
    if value is None:
        return "not measured"
    return f"{number(value)} x" if goal.is_ratio else f"{number(value)} {workload.unit}"


def verdict(goal: GoalResult) -> str:
    """Which of the goal's limits is reached."""
    if goal.value is None:
        return "not measured"
    if goal.must is None and goal.aim is None:
        return ""
    if goal.must_is_met is False:
        return "**must missed**"
    if goal.aim_is_met:
        return "aim met"
    if goal.aim is not None and goal.must is None:
        return "aim missed"
    return "must met"


def busy(workload: WorkloadResult) -> str:
    """How busy the machine was with something else."""
    if workload.busy_before is None:
        return ""
    return f"Before it, other programs used {100 * workload.busy_before:.0f} % of the CPUs."


def terminal(workload: WorkloadResult) -> str:
    """One workload, for the screen."""
    lines = [f"{workload.name}: {workload.title} ({workload.unit}, {workload.seconds:.0f} s)"]
    for name, value in workload.series.items():
        rounds = workload.rounds[name]
        lines.append(
            f"    {name:32} {number(value):>10}   [{number(min(rounds))} .. {number(max(rounds))}]"
        )
    for goal in workload.goals:
        limits = ", ".join(
            f"{word} {limit(goal, workload, value)}"
            for word, value in (("must", goal.must), ("aim", goal.aim))
            if value is not None
        )
        found = amount(goal, workload, goal.value)
        judged = f" ({limits}): {verdict(goal).strip('*')}" if limits else ""
        lines.append(f"  = {goal.title}: {found}{judged}")
    if (workload.busy_before or 0) > BUSY:
        lines.append(f"    {busy(workload)}")
    lines += [f"    {name} is left out: {reason}" for name, reason in workload.skipped.items()]
    return "\n".join(lines)


def report(run: Run) -> str:
    """The whole run as a Markdown document."""
    lines = [f"# memsync beside its alternatives: {run.release}", ""]
    if run.quick:
        lines += ["**A quick run: the numbers only show that the benchmark works.**", ""]
    lines += [f"Run on {run.date}. Each ratio is the median of the ratios of the rounds.", ""]
    lines += [
        "| workload | goal | measured | must | aim | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for workload in run.workloads:
        for goal in workload.goals:
            cells = [
                workload.title,
                goal.title,
                amount(goal, workload, goal.value),
                limit(goal, workload, goal.must),
                limit(goal, workload, goal.aim),
                verdict(goal),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## All systems", ""]
    for workload in run.workloads:
        lines += [f"### {workload.title}", ""]
        better = "more is better" if workload.higher_is_better else "less is better"
        lines += [f"| `{workload.name}` | {workload.unit}, {better} | lowest to highest round |"]
        lines += ["| --- | --- | --- |"]
        for name, value in workload.series.items():
            rounds = workload.rounds[name]
            span = f"{number(min(rounds))} to {number(max(rounds))}"
            lines.append(f"| {name} | {number(value)} | {span} |")
        lines += [f"| {name} | left out: {why} | |" for name, why in workload.skipped.items()]
        measured = f"Measured on {workload.date}." if workload.date else ""
        lines += ["", *workload.notes, "", f"{measured} {busy(workload)}".strip(), ""]
    lines += ["## The machine", "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in run.machine.items()]
    return "\n".join(lines) + "\n"
