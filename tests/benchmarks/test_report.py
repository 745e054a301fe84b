"""The report as text and as charts."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from benchmarks.model import Goal, Workload
from benchmarks.report import charts, markdown
from benchmarks.report.svg import Drawing, LogScale

from .test_results import Fake, Missing, Rate, run_of, summarised

VALUES = {"memsync": 1234.0, "other": 1000.0}


def words(svg: str) -> list[str]:
    """The texts of a chart, which is well-formed XML."""
    root = ElementTree.fromstring(svg)
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.01234, "0.0123"), (12.345, "12.3"), (1234.5, "1,234")]
)
def test_numbers_have_three_digits_that_count(value: float | None, text: str) -> None:
    assert markdown.number(value) == text


def test_the_table_names_goals_values_and_verdicts() -> None:
    text = markdown.report(run_of(VALUES))
    assert "| something | memsync to other | 1.23 x | ≤ 2 x | ≤ 1 x | must met |" in text
    assert "| memsync | 1,234 | 1,234 to 1,234 |" in text
    assert "| cpus | 2 |" in text


def test_a_busy_machine_is_named() -> None:
    result = summarised(Fake(), VALUES)
    result.busy_before = 0.37
    assert "other programs used 37 % of the CPUs" in markdown.terminal(result)
    result.busy_before = 0.01
    assert "other programs" not in markdown.terminal(result)


def test_the_direction_of_a_rate_is_the_other_one() -> None:
    text = markdown.report(run_of(VALUES, workload=Rate()))
    assert "| ≥ 2 x | ≥ 1 x | **must missed** |" in text


def test_what_was_left_out_is_in_the_text_with_its_reason() -> None:
    result = summarised(Missing())
    result.skipped["Redis"] = "package redis is not installed"
    assert "Redis is left out: package redis is not installed" in markdown.terminal(result)
    run = run_of(VALUES)
    run.workloads = [result]
    assert "| Redis | left out: package redis is not installed | |" in markdown.report(run)
    assert "not measured" in markdown.report(run)


def test_charts_name_goals_systems_and_releases() -> None:
    run = run_of(VALUES)
    assert "fake: memsync to other" in words(charts.goals(run))
    assert {"memsync", "other", "something"} <= set(words(charts.systems(run)))
    later = run_of({"memsync": 500.0, "other": 1000.0})
    later.release = "2.0"
    assert {"1.0", "2.0", "fake: memsync to other"} <= set(words(charts.history([run, later])))


def test_charts_of_nothing_are_valid() -> None:
    run = run_of()
    for svg in (charts.goals(run), charts.systems(run), charts.history([]), charts.history([run])):
        assert "memsync" in svg
        words(svg)


def test_a_value_on_the_good_side_of_its_limit_is_below_one() -> None:
    fast = run_of({"memsync": 1.0, "other": 1.0})
    ((_, _, share),) = charts.measured(fast)
    assert share == 0.5
    ((_, _, share),) = charts.measured(run_of({"memsync": 1.0, "other": 1.0}, workload=Rate()))
    assert share == 2.0


def test_the_scale_is_logarithmic_and_keeps_its_ends() -> None:
    scale = LogScale(1, 100, 0, 200)
    assert [scale(value) for value in (1, 10, 100, 1000, 0.1, 0, -1)] == [0, 100, 200, 200, 0, 0, 0]
    assert list(scale.ticks()) == [1, 2, 5, 10, 20, 50, 100]
    assert list(LogScale(0.001, 100, 0, 1).ticks()) == [0.001, 0.01, 0.1, 1, 10, 100]


def texts(svg: str) -> list[tuple[float, float, float, str]]:
    """The left and the right end of each text, its height and its words."""
    found = []
    for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        text = element.text or ""
        width = 0.55 * float(element.attrib["font-size"]) * len(text)
        before = {"start": 0.0, "middle": width / 2, "end": width}[element.attrib["text-anchor"]]
        left = float(element.attrib["x"]) - before
        found.append((left, left + width, float(element.attrib["y"]), text))
    return found


class Deliveries(Rate):
    unit = "deliveries/s, each with an acknowledgement"
    goals = (Goal(must=250_000),)


class Difference(Fake):
    goals = (Goal(against="other", must=40.0, minus=True),)


@pytest.mark.parametrize("workload", [Fake(), Rate(), Deliveries(), Difference()])
def test_no_text_of_the_goals_is_cut_off(workload: Workload) -> None:
    svg = charts.goals(run_of({"memsync": 114_774.0, "other": 10.0}, workload=workload))
    width = float(ElementTree.fromstring(svg).attrib["width"])
    assert all(right <= width for _, right, _, _ in texts(svg))


@pytest.mark.parametrize("value", [-1e9, -0.66, 0.0, 1e-9])
def test_a_negative_difference_is_drawn_at_the_edge(value: float) -> None:
    run = run_of({"memsync": 100.0 + value, "other": 100.0}, workload=Difference())
    run.workloads += run_of(VALUES).workloads
    assert "fake: memsync less other" in words(charts.goals(run))
    assert "fake: memsync less other" in words(charts.history([run, run]))
    assert any("0 or less is at the left edge" in text for text in words(charts.goals(run)))


def test_a_rate_of_zero_has_no_share() -> None:
    run = run_of({"memsync": 0.0, "other": 1.0}, workload=Rate())
    assert list(charts.measured(run)) == []


def test_a_measured_ratio_is_not_taken_for_the_axis() -> None:
    found = words(charts.goals(run_of({"memsync": 0.598, "other": 1.0})))
    assert {"ratio 0.598", "measured", "1 x"} <= set(found)
    assert "0.598 x" not in found


@pytest.mark.parametrize("count", [1, 2, 10, 30, 200, 2000])
@pytest.mark.parametrize("name", ["0.{}.0", "2026.11.{}rc1+longer"])
def test_names_of_releases_keep_apart(count: int, name: str) -> None:
    runs = []
    for index in range(count):
        runs.append(run_of(VALUES))
        runs[-1].release = name.format(index)
    svg = charts.history(runs)
    shown = sorted(each for each in texts(svg) if each[3] in {run.release for run in runs})
    assert runs[-1].release in [each[3] for each in shown]
    assert len(shown) >= min(count, 3)
    assert all(one[1] < other[0] for one, other in pairwise(shown))


def test_labels_keep_apart_and_above_the_end() -> None:
    assert charts.spread([1, 2, 50], 10, 100) == [1, 11, 50]
    assert charts.spread([80, 95, 99], 10, 100) == [80, 90, 100]
    assert charts.spread([], 10, 100) == []


def test_text_in_a_drawing_is_escaped() -> None:
    drawing = Drawing(10, 10, "a < b")
    drawing.write(1, 2, "x & y")
    assert words(drawing.text()) == ["x & y"]


def test_a_goal_without_a_must_is_judged_by_its_aim() -> None:
    class AimOnly(Fake):
        goals = (Fake.goals[0].__class__(against="other", aim=1.0),)

    (goal,) = summarised(AimOnly(), VALUES).goals
    assert markdown.verdict(goal) == "aim missed"
