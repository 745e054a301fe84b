"""The campaigns, each for a moment; `python -m tests.journal` runs them at length."""

from __future__ import annotations

from pathlib import Path

from . import corrupt, equal, large


def test_damaged_journals_are_found(tmp_path: Path) -> None:
    found = corrupt.run(tmp_path, 60, seed=7)
    assert (found["found"], found["missed"]) == (60, 0)
    assert found["line named"] >= 55


def test_what_jsonpatch_replays_equals_the_live_object(tmp_path: Path) -> None:
    told = equal.run(tmp_path, 400, seed=7)
    assert told["equal"]
    assert told["entries"] >= 300  # some updates change nothing
    assert told["notes"] == []


def test_a_journal_of_several_segments_is_read(tmp_path: Path) -> None:
    assert large.run(tmp_path, 2500, segment=1000)["lines"] == 2500
