"""A short form of the chaos, by each way to start a process, and what the command says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from memsync.testing import until

from ..process_helpers import start_helpers
from .checkers import violations
from .history import Calm, History, Hurt, Write, Writer
from .leftovers import below
from .plan import FAULTS, METHODS, draw
from .round import Round

ROOT = Path(__file__).parents[2]
SEEDS = (31, 36)  # by each method
PLANTED = """
import runpy
from tests.chaos import round
round.violations = lambda history: ["planted"]
runpy.run_module("tests.chaos", run_name="__main__")
"""


@pytest.fixture(autouse=True, scope="session")
def helpers() -> None:
    """Start what multiprocessing keeps until the end before any test looks for leaks."""
    start_helpers()


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("method", METHODS)
def test_g1_g2_g3_g6_g12_g15_hold_in_a_round_of_chaos(method: str, seed: int) -> None:
    round_ = Round(seed, method)
    found = round_.run()
    assert found == [], f"python -m tests.chaos --seed {seed} --rounds 1 --start-method {method}"
    assert sum(len(tags) for tags in round_.history.tags.values()) > 100
    assert sum(round_.counts.values()) == len(round_.plan.steps)


def test_every_fault_is_planned_in_the_short_form() -> None:
    planned = {step.fault for seed in SEEDS for step in draw(seed).steps}
    assert planned == FAULTS.keys()


def test_a_seed_is_a_plan_and_the_start_methods_take_turns() -> None:
    assert draw(7) == draw(7)
    assert draw(7).steps != draw(8).steps
    assert {draw(seed).method for seed in range(3)} == set(METHODS)
    assert draw(7, "spawn").steps == draw(7, "fork").steps


def command(program: list[str], *arguments: str, place: Path) -> tuple[int, list[str]]:
    """Exit code and output of a program with these arguments, its temporary files in a place."""
    ended = subprocess.run(
        [sys.executable, *program, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return ended.returncode, (ended.stdout + ended.stderr).splitlines()


@pytest.mark.process
def test_the_command_says_how_many_rounds_there_were_and_succeeds(tmp_path: Path) -> None:
    code, lines = command(["-m", "tests.chaos"], "--rounds", "0", place=tmp_path)
    assert (code, lines) == (0, ["rounds 0 violations 0"])


@pytest.mark.slow
@pytest.mark.process
def test_the_command_fails_at_a_violation_and_says_how_to_replay_it(tmp_path: Path) -> None:
    arguments = ("--seed", "5", "--rounds", "1", "--start-method", "fork")
    code, lines = command(["-c", PLANTED], *arguments, place=tmp_path)
    assert code == 1
    assert lines[-1] == "rounds 1 violations 1"
    assert "seed 5: planted" in lines
    assert f"replay: python -m tests.chaos {' '.join(arguments)}" in lines
    (kept,) = tmp_path.glob("memsync-chaos-*")
    assert f"what happened: {kept}" in lines
    assert (kept / "w0").read_text().count(" begun ") > 0


@pytest.mark.slow
@pytest.mark.process
def test_when_the_command_is_killed_no_process_of_it_lives_on(tmp_path: Path) -> None:
    # The seed begins with a child of a peer, which has no pipe that could tell it.
    arguments = ["--seed", "105", "--rounds", "1", "--start-method", "fork"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        until(lambda: any(" begun " in p.read_text() for p in tmp_path.glob("*/w3")))
        processes = list(below(driver.pid))
    finally:
        driver.kill()
        driver.wait()
    assert len(processes) > draw(105).members
    until(lambda: not any(process.is_running() for process in processes))


# -- the checkers, on histories made by hand -------------------------------------------------------


def history(*numbers: int, **changes: object) -> History:
    """A round in which `w0` wrote 1 (plain), 2 (contested) and 3 (majority); all were accepted."""
    writes = {
        number: Write(number, kind, begun=10.0 + number, outcome="ok", told=10.5 + number)
        for number, kind in ((1, "plain"), (2, "contested"), (3, "majority"))
    }
    document = {"count": len(numbers), "log": {"w0": list(numbers)}}
    made = History(
        writers={"w0": Writer("w0", has_started=True, writes=writes), "w1": Writer("w1")},
        fewest=4,
        replicas={"w0": repr(document), "w1": repr(document)},
        document=document,
        hosts=["w1"],
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def found(made: History) -> list[str]:
    """The checkers that complain."""
    return [text.partition(":")[0] for text in violations(made)]


def test_a_round_in_which_all_is_well_is_without_violations() -> None:
    assert found(history(1, 2, 3)) == []


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (history(2, 3), "no_acknowledged_write_is_lost"),
        (history(1, 2, 2, 3), "no_write_is_there_twice"),
        (history(1, 3, 2), "writes_of_a_writer_keep_their_order"),
        (history(1, 2, 3, 4), "nothing_comes_from_nowhere"),
        (history(1, 2, 3, replicas={"w0": "a", "w1": "b"}), "replicas_are_equal"),
        (history(1, 2, 3, replicas={}), "replicas_are_equal"),
        (history(1, 2, 3, hosts=[]), "there_is_one_host"),
        (history(1, 2, 3, hosts=["w0", "w1"]), "there_is_one_host"),
        (history(1, 2, 3, leftovers=["a socket"]), "nothing_is_left"),
        (history(1, 2, 3, trouble=["not level"]), "all_comes_to_pass"),
    ],
)
def test_a_violation_is_found(made: History, complaint: str) -> None:
    assert found(made) == [complaint]


def test_a_counter_that_does_not_move_with_the_tags_is_found() -> None:
    made = history(1, 2, 3)
    made.document["count"] = 2
    assert found(made) == ["a_write_is_there_as_a_whole"]


def test_an_object_that_was_lost_as_a_whole_is_found() -> None:
    assert "no_acknowledged_write_is_lost" in found(history(document={}))


def test_a_round_that_broke_off_says_why_and_no_more() -> None:
    made = history(document={}, replicas={}, hosts=[], trouble=["a peer died"])
    assert violations(made) == ["all_comes_to_pass: a peer died"]


def test_of_many_faults_of_one_kind_some_are_told_and_the_rest_counted() -> None:
    told = violations(history(1, 2, 3, *range(10, 20)))
    assert len(told) == 6
    assert told[-1] == "nothing_comes_from_nowhere: and 5 more"


@pytest.mark.parametrize(
    ("number", "outcome", "detail", "complaints"),
    [
        (1, "not_applied", "ConflictError()", ["nobody_fails", "refused_writes_are_absent"]),
        (2, "not_applied", "ConflictError()", ["refused_writes_are_absent"]),
        (2, "not_applied", "QueueFullError()", ["nobody_fails", "refused_writes_are_absent"]),
        (1, "unknown", "WriteTimeoutError()", ["nobody_fails"]),
        (3, "unknown", "WriteTimeoutError()", []),
        (3, "applied", "WriteConcernError()", []),
        (1, "", "", ["everybody_is_told"]),
    ],
)
def test_a_write_may_fail_only_for_a_reason(
    number: int, outcome: str, detail: str, complaints: list[str]
) -> None:
    made = history(1, 2, 3)
    write = made.writers["w0"].writes[number]
    write.outcome, write.detail = outcome, detail
    assert found(made) == complaints


def test_a_start_that_fails_is_found() -> None:
    made = history(1, 2, 3)
    made.writers["w1"].failure = "HostUnresponsiveError()"
    assert found(made) == ["nobody_fails"]


def lost(number: int, *hurts: Hurt, gone: float = 20.0, calms: tuple[Calm, ...] = ()) -> list[str]:
    """The complaints when one write is missing and its writer was killed."""
    numbers = [each for each in (1, 2, 3) if each != number]
    made = history(*numbers, hurts=[Hurt("w0", gone, gone), *hurts], calms=list(calms))
    made.writers["w0"].gone = gone
    return found(made)


LOST = ["no_acknowledged_write_is_lost"]
KILL = Hurt("w1", 19.0, 19.0)


def test_a_write_may_be_lost_only_with_its_writer_and_another_process() -> None:
    assert lost(1) == LOST
    assert lost(1, KILL) == []
    assert lost(1, Hurt("w1", 5.0, 25.0)) == []  # frozen all the time
    assert found(history(2, 3, hurts=[KILL])) == LOST  # its writer lives


def test_a_write_may_not_be_lost_when_it_was_calm_in_between() -> None:
    both = frozenset({"w0", "w1"})
    assert lost(1, KILL, calms=(Calm(both, 15.0, 16.0),)) == LOST
    assert lost(1, KILL, calms=(Calm(frozenset({"w1"}), 15.0, 16.0),)) == []  # without the writer
    before, after = Hurt("w1", 5.0, 5.0), Hurt("w1", 30.0, 30.0)
    assert lost(1, before, calms=(Calm(both, 6.0, 7.0),)) == LOST
    assert lost(1, after, calms=(Calm(frozenset({"w1"}), 21.0, 22.0),)) == LOST


def test_a_majority_write_may_be_lost_only_with_more_than_half_of_the_members() -> None:
    others = [Hurt(f"w{number}", 19.0, 19.0) for number in (1, 2)]
    assert lost(3, others[0]) == LOST
    assert lost(3, *others) == []


def test_a_contested_write_may_be_taken_back_if_that_was_told() -> None:
    made = history(1, 3)
    assert found(made) == LOST
    made.writers["w0"].rolled_back = 1
    assert found(made) == []
    made = history(2, 3)
    made.writers["w0"].rolled_back = 1
    assert found(made) == LOST  # a plain one conflicts with nothing
