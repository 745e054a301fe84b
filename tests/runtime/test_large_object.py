"""The collector is spared a large object, a few times in its life."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.runtime import large_object
from memsync.runtime.large_object import Freezer
from memsync.testing import until


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A number for each time that everything was frozen."""
    calls: list[int] = []
    monkeypatch.setattr(gc, "freeze", lambda: calls.append(1))
    monkeypatch.setattr(large_object, "LARGE", 10)
    return calls


def test_a_large_object_is_frozen_once_and_again_when_it_has_doubled(frozen: list[int]) -> None:
    freezer = Freezer()
    freezer.look({str(i): i for i in range(10)})
    assert frozen == []
    for size in (11, 12, 22, 23):
        freezer.look({str(i): i for i in range(size)})
    assert len(frozen) == 2


def test_what_lies_in_the_root_counts(frozen: list[int]) -> None:
    view: dict[str, Any] = {"users": {str(i): i for i in range(9)}, "n": 1}
    freezer = Freezer()
    freezer.look_inside(view)
    assert len(frozen) == 1
    freezer.look_inside(view)
    assert len(frozen) == 1


@pytest.mark.parametrize("engine", ["memory", "local"])
def test_a_stopped_handle_frees_its_large_object(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, engine: str
) -> None:
    monkeypatch.setenv("MEMSYNC_DIR", str(tmp_path))
    monkeypatch.setattr(large_object, "LARGE", 10)
    handle: MemSync[Any] = MemSync("large", {str(i): {"n": i} for i in range(100)}, engine=engine)
    frozen = gc.get_freeze_count()
    handle.start()
    try:
        until(lambda: gc.get_freeze_count() > frozen)  # by the driver, after the start
        engine_of_handle = handle._engine
        assert engine_of_handle is not None
        replica = weakref.ref(engine_of_handle.participant.replica)
        del engine_of_handle
    finally:
        handle.stop()
    del handle
    until(lambda: gc.collect() >= 0 and replica() is None)
