"""``memsync wait`` misses no write that is made while it begins; see `wait_races`."""

from __future__ import annotations

from pathlib import Path

import pytest

from .wait_races import race

pytestmark = [pytest.mark.process, pytest.mark.slow]


def test_no_write_is_missed(folder: Path) -> None:
    found = race(60, seed=1)
    assert found.missed == 0
    assert found.before > 0
    assert found.after > 0
