"""Ratios, goals and the comparison with an older result."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks import accounting
from benchmarks.accounting import ON_LINUX, busy_share, cpu_seconds, pss_bytes
from benchmarks.model import Bench, Goal, Measure, Skipped, Values, Workload
from benchmarks.processes import WorkerFailed
from benchmarks.report import markdown
from benchmarks.results import Run, WorkloadResult, has_failed, kept, load, save
from benchmarks.runner import measure, run, summary


class Fake(Workload):
    name = "fake"
    title = "something"
    unit = "us"
    goals = (Goal(against="other", must=2.0, aim=1.0),)

    def open(self, bench: Bench) -> list[Measure]:
        return [lambda: {"memsync": 3.0}, lambda: {"other": 2.0}]


class Rate(Fake):
    unit = "writes/s"
    higher_is_better = True


class Missing(Fake):
    def open(self, bench: Bench) -> list[Measure]:
        raise Skipped("not here")


class Broken(Fake):
    def open(self, bench: Bench) -> list[Measure]:
        raise WorkerFailed("process 1 has ended")


def summarised(workload: Workload, *rounds: Values) -> WorkloadResult:
    return summary(workload, rounds, {}, 1.0)


def run_of(*rounds: Values, workload: Workload | None = None, date: str = "2026-01-01") -> Run:
    found = summarised(workload or Fake(), *rounds)
    return Run("1.0", date, quick=False, machine={"cpus": 2}, workloads=[found])


def test_the_ratio_is_the_median_of_the_ratios_not_the_ratio_of_the_medians() -> None:
    rounds = [
        {"memsync": 1.0, "other": 1.0},
        {"memsync": 30.0, "other": 10.0},  # a round in which the machine was slow for both
        {"memsync": 2.0, "other": 4.0},
    ]
    (goal,) = summarised(Fake(), *rounds).goals
    assert goal.rounds == [1.0, 3.0, 0.5]
    assert goal.value == 1.0


@pytest.mark.parametrize(
    ("workload", "value", "must", "aim"),
    [
        (Fake(), 0.9, True, True),
        (Fake(), 1.5, True, False),
        (Fake(), 2.1, False, False),
        (Rate(), 0.9, False, False),
        (Rate(), 2.1, True, True),
    ],
)
def test_limits_hold_in_the_direction_of_the_workload(
    workload: Workload, value: float, must: bool, aim: bool
) -> None:
    (goal,) = summarised(workload, {"memsync": value, "other": 1.0}).goals
    assert (goal.must_is_met, goal.aim_is_met) == (must, aim)


def test_a_goal_without_its_alternative_is_not_measured() -> None:
    (goal,) = summarised(Fake(), {"memsync": 1.0}).goals
    assert (goal.value, goal.must_is_met, goal.aim_is_met) == (None, None, None)


def test_a_goal_can_limit_a_difference_or_the_value() -> None:
    values = {"memsync": 50.0, "other": 20.0}
    assert Goal(against="other", minus=True).value(values) == 30.0
    assert Goal().value(values) == 50.0
    assert Goal(against="other").value({"memsync": 1.0, "other": 0.0}) is None


def test_another_checkout_is_a_goal_without_limits() -> None:
    values = {"memsync": 1.0, "other": 1.0, "memsync, base": 2.0}
    _, goal = summarised(Fake(), values).goals
    assert (goal.title, goal.value) == ("memsync to memsync, base", 0.5)
    assert (goal.must_is_met, goal.aim_is_met) == (None, None)


def test_the_worst_round_counts_where_the_worst_is_wanted() -> None:
    class Worst(Fake):
        worst = True

    rounds = [{"memsync": value, "other": 1.0} for value in (1.0, 9.0, 2.0)]
    assert summarised(Worst(), *rounds).series["memsync"] == 9.0


def test_all_systems_take_turns_and_the_warm_up_does_not_count() -> None:
    order: list[str] = []

    def one(name: str) -> Measure:
        def measured() -> Values:
            order.append(name)
            return {name: float(len(order))}

        return measured

    taken = measure([one("a"), one("b")], 4, warm_up=True)
    assert "".join(order) == "ab" + "ab" + "ba" + "ba" + "ab"
    assert taken[0] == {"a": 3.0, "b": 4.0}
    assert taken[1] == {"b": 5.0, "a": 6.0}
    assert len(taken) == 4


def test_what_cannot_run_is_named_and_what_breaks_fails() -> None:
    missing, broken = run(Missing(), 1, quick=True), run(Broken(), 1, quick=True)
    assert missing.skipped == {"fake": "not here"}
    assert not has_failed(missing)
    assert has_failed(broken)
    assert broken.date
    assert "has ended" in broken.skipped["fake"]
    assert not has_failed(run(Fake(), 1, quick=True))


def test_a_run_is_the_same_after_it_was_kept(tmp_path: Path) -> None:
    later = run_of({"memsync": 1.0, "other": 3.0}, date="2026-02-01")
    earlier = run_of({"memsync": 1.0, "other": 3.0})
    save(later, tmp_path / "a.json")
    save(earlier, tmp_path / "b.json")
    assert load(tmp_path / "a.json") == later
    assert kept(tmp_path) == [earlier, later]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (WorkerFailed("Traceback:\n  File 'x'\nRedisError: refused\n\n"), "RedisError: refused"),
        (TimeoutError(), "TimeoutError"),
        (AssertionError("1 of 2"), "1 of 2"),
    ],
)
def test_a_failure_is_one_line_of_the_report(
    capsys: pytest.CaptureFixture[str], error: Exception, reason: str
) -> None:
    class Failing(Fake):
        def open(self, bench: Bench) -> list[Measure]:
            raise error

    result = run(Failing(), 1, quick=True)
    assert result.skipped == {"fake": f"failed: {reason}"}
    assert str(error) in capsys.readouterr().err
    whole = run_of()
    whole.workloads = [result]
    assert f"| fake | left out: failed: {reason} | |" in markdown.report(whole)


@pytest.mark.skipif(not ON_LINUX, reason="only Linux reports this of other processes")
def test_what_a_process_uses_can_be_read() -> None:
    before = cpu_seconds([os.getpid()])
    sum(range(3_000_000))
    assert 0 < cpu_seconds([os.getpid()]) - before < 10
    assert pss_bytes(os.getpid()) > 1e6
    share = busy_share(0.05)
    assert share is not None
    assert 0 <= share <= 1


@pytest.mark.skipif(not ON_LINUX, reason="only Linux reports this of other processes")
def test_a_busy_share_is_one_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([[10, 0, 5, 70, 9, 0, 0, 0], [15, 0, 5, 70, 8, 0, 0, 0]])
    monkeypatch.setattr(accounting, "_cpu_ticks", lambda: next(ticks))
    assert busy_share(0) == 1


def test_the_kept_results_can_be_read() -> None:
    folder = Path(__file__).parents[2] / "benchmarks" / "results"
    runs: list[Any] = kept(folder)
    assert all(not found.quick and found.workloads for found in runs)
