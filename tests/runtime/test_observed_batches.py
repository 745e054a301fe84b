"""Observers while a batch is being applied: what they deliver is the state at its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memsync import MemSync
from memsync.replication.entries import Entry
from memsync.runtime.observer import FunctionObserver, Observer, PathObserver


class Scene:
    """A handle whose dispatcher can be held, and whose batches are ended by hand."""

    def __init__(self, mem: MemSync[Any], other: MemSync[Any]) -> None:
        self.mem, self.other = mem, other
        self.participant = mem._participating()
        self._publish = self.participant.publish
        self._entries: list[Entry] = []
        self._gate: threading.Event | None = None

    def hold(self) -> None:
        """Keep the dispatcher busy."""
        begun, gate = threading.Event(), threading.Event()

        def wait() -> None:
            begun.set()
            assert gate.wait(20)

        self.mem._dispatcher.call_surely(wait)
        assert begun.wait(20)
        self._gate = gate

    def release(self) -> None:
        """Let the dispatcher make all calls that wait."""
        if self._gate is not None:
            self._gate.set()
            self._gate = None
        done = threading.Event()
        self.mem._dispatcher.call_surely(done.set)
        assert done.wait(20)

    def begin_batch(self) -> None:
        def keep(entries: list[Entry]) -> None:
            self._entries += entries

        self.participant.publish = keep  # type: ignore[method-assign]

    def end_batch(self) -> None:
        entries, self._entries = self._entries, []
        self._publish(entries)
        self.participant.publish = self._publish  # type: ignore[method-assign]

    def add(self, field: str, number: int = 1) -> None:
        """A write of the other peer."""
        self.other.patch({"$inc": {field: number}})


@pytest.fixture
def scene() -> Iterator[Scene]:
    with (
        MemSync("obj", {"n": 0, "m": 0, "x": 0}, engine="memory") as other,
        MemSync("obj", engine="memory") as mem,
    ):
        made = Scene(mem, other)
        yield made
        made.end_batch()
        made.release()


PATHS: dict[str, Any] = {"path": "n", "function": lambda data: data["n"]}


@pytest.mark.parametrize("path", PATHS)
def test_the_middle_of_a_batch_is_not_delivered(scene: Scene, path: str) -> None:
    calls: list[Any] = []
    scene.mem.observe(PATHS[path], calls.append)
    scene.hold()
    scene.add("n")
    scene.begin_batch()
    scene.add("n")
    scene.release()
    assert scene.mem.data["n"] == 2
    assert calls == []
    scene.add("n")
    scene.end_batch()
    scene.release()
    assert calls == [3]


@pytest.mark.parametrize("path", PATHS)
def test_a_batch_elsewhere_does_not_put_a_call_off(scene: Scene, path: str) -> None:
    calls: list[Any] = []
    scene.mem.observe(PATHS[path], calls.append)
    scene.hold()
    scene.add("n")
    scene.begin_batch()
    scene.add("m")
    scene.release()
    assert calls == [1]


@pytest.mark.parametrize("path", PATHS)
def test_under_constant_load_an_observer_gets_its_turn(scene: Scene, path: str) -> None:
    """The dispatcher always comes in the middle of the next batch."""
    calls: list[Any] = []
    scene.mem.observe(PATHS[path], calls.append)
    scene.hold()
    scene.add("n")
    for _ in range(6):
        scene.begin_batch()
        scene.add("n")
        scene.release()
        scene.hold()
        scene.end_batch()
    scene.release()
    assert calls == sorted(set(calls))
    assert calls[-1] == 7
    assert len(calls) >= 3


@pytest.mark.parametrize(("path", "kind"), [("path", PathObserver), ("function", FunctionObserver)])
def test_a_call_that_was_put_off_costs_one_copy(
    scene: Scene, path: str, kind: type[Observer], monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[int] = []
    capture: Callable[..., None] = kind.capture

    def counted(self: Observer, view: Any) -> None:
        copies.append(1)
        capture(self, view)

    monkeypatch.setattr(kind, "capture", counted)
    calls: list[Any] = []
    scene.mem.observe(PATHS[path], calls.append)
    scene.hold()
    scene.add("n")
    scene.begin_batch()
    scene.add("n")
    scene.release()
    scene.hold()
    scene.end_batch()
    for _ in range(20):
        scene.add("n")
    scene.release()
    assert len(copies) == 1
    assert calls[-1] == 22


def test_what_was_put_off_is_called_when_the_handle_stops(scene: Scene) -> None:
    calls: list[Any] = []
    scene.mem.observe("n", calls.append)
    scene.hold()
    scene.add("n")
    scene.begin_batch()
    scene.add("n")
    scene.release()
    scene.end_batch()
    scene.mem.stop()
    assert calls == [2]


def test_changes_yields_the_ends_of_batches(scene: Scene) -> None:
    changes = scene.mem.changes("n", timeout=0.0)
    scene.begin_batch()
    scene.add("n")
    scene.add("m")
    scene.add("n")
    scene.end_batch()
    scene.add("n")
    assert [value for value, _ in changes] == [2, 3]
    assert changes.missed == 0


def test_an_own_write_in_the_middle_of_a_batch_is_a_batch(scene: Scene) -> None:
    calls: list[Any] = []
    scene.mem.observe("n", calls.append)
    changes = scene.mem.changes("n", timeout=0.0)
    scene.begin_batch()
    scene.add("n")
    future = scene.mem.submit({"$inc": {"n": 10}})
    scene.add("n")
    scene.end_batch()
    scene.release()
    assert future.result(20)
    assert calls == [12]
    assert [value for value, _ in changes] == [11, 12]


def test_a_thread_that_waits_wakes_at_the_end_of_a_batch(scene: Scene) -> None:
    waiters = scene.participant.view_waiters
    waiter = waiters.add(["/n"])
    scene.begin_batch()
    scene.add("n")
    assert not waiter.due
    scene.end_batch()
    assert waiter.due
    assert waiters.batch == []
