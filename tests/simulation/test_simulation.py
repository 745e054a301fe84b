"""A short run of the simulation, and checks that it depends on nothing but the seed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from memsync.replication.entries import Propose

from . import world
from .checkers import a_fail_over_is_quick, what_never_happened
from .events_checker import events_come_once_and_in_order_or_are_counted
from .faults import FAULTS, WIPE
from .history import Decided, FailOver, Heard, History, Opening
from .run import Run, run
from .world import Streams

ROOT = Path(__file__).parents[2]
SEEDS = 300


def command(*arguments: str, hash_seed: str = "0") -> tuple[int, list[str]]:
    """Exit code and output of ``python -m tests.simulation``."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return ended.returncode, (ended.stdout + ended.stderr).splitlines()


@pytest.mark.slow
@pytest.mark.timeout(400)  # it computes for a minute, beside other tests for two
def test_g1_to_g8_hold_in_three_hundred_seeds_in_which_everything_happens() -> None:
    counts: Counter[str] = Counter()
    for seed in range(SEEDS):
        result, _ = run(seed)
        assert result.violations == [], f"python -m tests.simulation --seed {seed} --tell"
        counts += result.counts
    assert what_never_happened(counts) == []


@pytest.mark.parametrize("first", [1000, 1010])
def test_g1_to_g8_hold_in_some_seeds(first: int) -> None:
    for seed in range(first, first + 10):
        assert run(seed)[0].violations == [], f"python -m tests.simulation --seed {seed} --tell"


def test_the_same_seed_gives_the_same_trace_in_any_process() -> None:
    program = (
        "from tests.simulation.run import run\n"
        "print([f'{run(seed)[0].trace:08x}' for seed in range(5)])\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "2")
    }
    assert outputs == {f"{[f'{run(seed)[0].trace:08x}' for seed in range(5)]}\n"}


def test_other_seeds_give_other_traces() -> None:
    assert len({run(seed)[0].trace for seed in range(10)}) == 10


def test_a_draw_in_one_subsystem_does_not_shift_the_others() -> None:
    one, other = Streams(7), Streams(7)
    one["network"].random()
    assert one["faults"].random() == other["faults"].random()
    assert Streams(7)["faults"].random() != Streams(8)["faults"].random()
    assert one["faults"].random() != Streams(7)["network"].random()


def test_the_command_says_how_many_seeds_and_violations() -> None:
    code, lines = command("--seed", "5", "--seeds", "3")
    assert (code, lines) == (0, ["seeds 3 violations 0"])


def test_a_violation_is_printed_with_the_seed_that_replays_it() -> None:
    broken = ("--mutation", "duplicates_are_ordered_again")
    code, lines = command("--seeds", "20", *broken)
    assert code == 1
    assert re.fullmatch(r"seeds 20 violations [1-9]\d?", lines[-1])
    replay = next(line for line in lines if line.startswith("replay: "))
    seed = replay.split("--seed ")[1].split()[0]
    found = [line for line in lines if line.startswith(f"seed {seed}: ")]
    again = command("--seed", seed, *broken, hash_seed="1")
    assert again[0] == 1
    assert [line for line in again[1] if line.startswith("seed ")] == found


def test_what_happened_can_be_printed() -> None:
    code, lines = command("--seed", "1", "--tell")
    assert code == 0
    assert any("is host of 1" in line for line in lines)
    assert lines[-1] == "seeds 1 violations 0"


def test_a_told_seed_begins_with_its_configuration() -> None:
    _, lines = command("--seed", "1", "--tell")
    assert lines[0].startswith("seed 1: group options ")
    assert [line.split()[0] for line in lines[1:4]] == ["pipes", "faults", "buggify"]


def test_a_group_whose_locks_and_witnesses_were_deleted_heals() -> None:
    code, lines = command("--seeds", "10", "--wipes")
    assert (code, lines) == (0, ["seeds 10 violations 0"])


def test_the_main_batch_never_deletes_witnesses() -> None:
    assert WIPE not in FAULTS


def test_a_fail_over_that_takes_long_is_a_violation() -> None:
    history = History()
    for seconds, is_disturbed in ((2.9, False), (3.1, False), (9.0, True)):
        fail_over = FailOver(1000.0, is_disturbed=is_disturbed)
        fail_over.ended_at = fail_over.hosted_at = 1000.0 + seconds
        history.fail_overs.append(fail_over)
    assert [found.split(",")[0] for found in a_fail_over_is_quick(history)] == [
        "the fail-over at 0.000000 took 3.100 s"
    ]


@pytest.mark.parametrize(
    ("missed", "found"), [(1, []), (2, ["p2 gets event 3 at (2, 23) after 3"])]
)
def test_a_peer_of_a_lost_branch_misses_what_a_later_epoch_has_instead(
    missed: int, found: list[str]
) -> None:
    """It joined at (1, 30), and epoch 2 begins at 21: an event at 22 is none that it had."""
    history = History()
    nobody: frozenset[str] = frozenset()
    epochs = (1, 1), (2, 21)
    history.openings.append(Opening(1.0, "p1", "c", 2, epochs, nobody, nobody, nobody))
    for number, (epoch, version) in enumerate([(1, 10), (2, 22), (2, 23)], 1):
        proposal = Propose(number, 0, 0, epoch, 0, "event", None, event=["event", [number]])
        history.decided.append(Decided("c", epoch, version - 1, "x", proposal, "event"))
    history.heard.append(Heard("p2", "c", "joined", (1, 30)))
    history.heard.append(Heard("p2", "c", "missed", (2, 22), missed))
    history.heard.append(Heard("p2", "c", "event", (2, 23), ["event", [3]]))
    assert list(events_come_once_and_in_order_or_are_counted(history)) == found


def test_a_group_that_never_rests_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that asked all the time took a minute of the machine, and nobody noticed."""
    monkeypatch.setattr(world, "STEPS_MAX", 500)
    assert "all_become_quiet: the group does not rest: 500 steps" in run(3)[0].violations


@pytest.mark.parametrize("arguments", [["--seed", "x"], ["--seeds", "-1"], ["--mutation", "none"]])
def test_a_wrong_argument_is_named(arguments: list[str]) -> None:
    code, lines = command(*arguments)
    assert code == 2
    assert arguments[0] in lines[-1]
    assert arguments[1] in lines[-1]


def test_a_batch_in_which_nothing_happens_is_reported() -> None:
    missing = what_never_happened(Counter())
    assert set(FAULTS) < set(missing)
    assert "inc: ok" in missing


def test_a_run_does_not_keep_the_machine(capfd: pytest.CaptureFixture[str]) -> None:
    one = Run(3)
    one.go()
    assert not any(process.alive for process in one.world.processes)
    assert capfd.readouterr() == ("", "")
