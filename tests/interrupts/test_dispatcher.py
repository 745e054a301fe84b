"""An interrupt while a call is queued leaves one thread that runs all later calls."""

from __future__ import annotations

import threading

import pytest

from memsync.runtime.dispatcher import Dispatcher
from memsync.testing import until

from .injector import Injection, Place, places_of

ROUNDS = 10


def check(dispatcher: Dispatcher) -> None:
    """A later call runs."""
    called = threading.Event()
    dispatcher.call_surely(called.set)
    assert called.wait(5), "a call after an interrupt does not run"


def test_an_interrupted_call() -> None:
    dispatcher, reached = Dispatcher(), 0

    def call() -> None:
        dispatcher.call_surely(lambda: None)

    check(dispatcher)  # its thread runs
    found: dict[Place, None] = {}
    for _ in range(5):
        found.update(places_of(call))
    for _ in range(ROUNDS):  # the thread may be busy or idle, so a call passes not all of them
        for place in found:
            injection = Injection(place, KeyboardInterrupt())
            injection.run(call)
            reached += injection.has_come
            for _ in range(3):
                check(dispatcher)
        if reached > 3:
            break
    dispatcher.stop(5)
    assert reached > 3


def test_a_second_thread_of_an_interrupted_start_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        monkeypatch.undo()
        raise KeyboardInterrupt

    before, dispatcher = threading.active_count(), Dispatcher()
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dispatcher.call_surely(lambda: None)
    for _ in range(3):
        check(dispatcher)
    until(lambda: threading.active_count() == before + 1)  # the second one has ended
    dispatcher.stop(5)
    until(lambda: threading.active_count() == before)
