"""The collector is spared a large object, a few times in its life."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.runtime import large_object
from memsync.runtime.large_object import Freezer
from memsync.testing import until


@pytest.fixture(autouse=True)
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[large_object._Collector]:
    """What the process knows of its collector, anew for each test."""
    collector = large_object._Collector()
    monkeypatch.setattr(large_object, "_collector", collector)
    yield collector
    if collector._on_collection in gc.callbacks:
        gc.callbacks.remove(collector._on_collection)


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


class Cycle:
    """Garbage that only the collector frees."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def freezer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Freezer]:
    monkeypatch.setattr(large_object, "LARGE", 10)
    freezer = Freezer()
    yield freezer
    freezer.thaw()
    assert large_object._collector._on_collection not in gc.callbacks


def freeze(freezer: Freezer) -> None:
    freezer.look({str(i): i for i in range(11)})


def test_a_full_collection_visits_what_is_frozen_now_and_then(
    freezer: Freezer, monkeypatch: pytest.MonkeyPatch
) -> None:
    cycle = Cycle()
    garbage = weakref.ref(cycle)
    freeze(freezer)
    frozen = gc.get_freeze_count()
    del cycle
    gc.collect()
    assert garbage() is not None
    monkeypatch.setattr(large_object, "THAWED_EVERY", 0.0)
    gc.collect()
    assert garbage() is None
    assert gc.get_freeze_count() > frozen / 2


def test_what_the_program_has_frozen_stays_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_object, "LARGE", 10)
    monkeypatch.setattr(large_object, "THAWED_EVERY", 0.0)
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        freezer = Freezer()
        freeze(freezer)
        gc.collect()
        freezer.thaw()
        assert gc.get_freeze_count() > frozen / 2
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("collects", [False, True])
def test_what_the_program_freezes_later_stays_frozen(
    freezer: Freezer, monkeypatch: pytest.MonkeyPatch, collects: bool
) -> None:
    freeze(freezer)
    kept: list[list[int]] = [[] for _ in range(1000)]
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        if collects:
            monkeypatch.setattr(large_object, "THAWED_EVERY", 0.0)
            gc.collect()
        freezer.thaw()
        assert gc.get_freeze_count() > frozen / 2
        assert kept
    finally:
        gc.unfreeze()


def test_a_program_that_clears_the_callbacks_of_the_collector_can_stop(freezer: Freezer) -> None:
    freeze(freezer)
    gc.callbacks.remove(large_object._collector._on_collection)
    freezer.thaw()
    assert gc.get_freeze_count() < 2000


def test_a_disabled_collector_runs_no_finalizer(freezer: Freezer) -> None:
    gc.disable()
    try:
        cycle = Cycle()
        garbage = weakref.ref(cycle)
        del cycle
        freeze(freezer)
        assert garbage() is not None
    finally:
        gc.enable()


def test_the_first_of_two_peers_that_stops_does_not_end_the_visits(
    freezer: Freezer, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Freezer()
    freeze(freezer)
    freeze(other)
    other.thaw()
    assert large_object._collector._on_collection in gc.callbacks
