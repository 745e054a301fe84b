"""The report as text and as charts."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

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
    assert [scale(value) for value in (1, 10, 100, 1000, 0.1)] == [0, 100, 200, 200, 0]
    assert list(scale.ticks()) == [1, 2, 5, 10, 20, 50, 100]
    assert list(LogScale(0.001, 100, 0, 1).ticks()) == [0.001, 0.01, 0.1, 1, 10, 100]


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
