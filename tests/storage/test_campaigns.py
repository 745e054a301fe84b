"""Short versions of the campaigns: python -m tests.storage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .campaigns import failing_disk, frozen, kills

pytestmark = pytest.mark.process


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "files"
    place.mkdir()
    return place


def test_g11_a_kill_in_the_middle_of_a_save(place: Path) -> None:
    assert kills.run(4, 0, place)[1] == []


def test_g11_a_sync_that_fails_is_told_and_not_repeated(place: Path) -> None:
    assert failing_disk.fail_syncs(12, 0, place)[1] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_writes_go_on_while_the_disk_is_full(place: Path) -> None:
    try:
        assert failing_disk.fill_disk(1, 0, place)[1] == []
    except OSError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_g11_a_host_that_is_suspended_between_its_check_and_the_replacement(place: Path) -> None:
    """The other points of a save are in `test_file` and `test_object_store`."""
    assert frozen.run(1, 0, place, ["under the lock"])[1] == []
