"""The handlers of events, their names, and what waits for them."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsync.replication.kinds.event import check_event_pattern
from memsync.runtime import event_router
from memsync.runtime.announcer import Event, Gap
from memsync.runtime.dispatcher import Dispatcher
from memsync.runtime.event_router import EventQueue, EventRouter, matcher

part = st.sampled_from(["a", "b", "*"])
patterns = st.builds(
    lambda parts, rest: ".".join([*parts, "**"] if rest or not parts else parts),
    st.lists(part, max_size=4),
    st.booleans(),
)
names = st.lists(st.sampled_from("abc"), min_size=1, max_size=5).map(".".join)


@given(patterns, names)
def test_a_pattern_matches_as_a_regular_expression_does(pattern: str, name: str) -> None:
    parts = {"*": "[^.]+", "**": ".+"}
    expected = re.fullmatch(r"\.".join(parts.get(p, p) for p in pattern.split(".")), name)
    assert matcher(check_event_pattern(pattern))(name) == bool(expected)


def event(number: int, text: str = "") -> Event:
    return Event("n", (number, text), number, 1, "w")


@given(st.lists(st.sampled_from(["put", "take", "gap"]), max_size=60))
def test_what_is_taken_and_the_gaps_are_all_that_was_put(steps: list[str]) -> None:
    """In order, and each gap has the number of those that are missing at its place."""
    queue, number, before = EventQueue(), 0, 0
    taken: list[Event | Gap] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_router, "WAITING_MAX", 3)
        for number_of_step, step in enumerate([*steps, *["take"] * 10]):
            if number_of_step == len(steps):
                before = len(taken)  # from here on nothing is put
            if step == "put":
                queue.put(event(number))
                number += 1
            elif step == "gap":
                queue.put_gap(2)
                number += 2
            elif (waiting := queue.take()) is not None:
                taken.append(waiting.item)
    for pair in pairwise(taken[before:]):
        assert any(isinstance(item, Event) for item in pair)
    at = 0
    for item in taken:
        if isinstance(item, Gap):
            assert item.count
            at += item.count
        else:
            assert item.args[0] == at
            at += 1
    assert at == number


class Calls(Dispatcher):
    """Keeps the calls, and makes them when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def call_surely(self, callback: Any, *args: Any, size: int = 0) -> None:
        self.calls.append((callback, args))

    def make(self) -> None:
        calls, self.calls = self.calls, []
        for callback, args in calls:
            callback(*args)


def test_an_event_whose_call_was_interrupted_comes_with_the_next_one_and_to_its_handlers() -> None:
    dispatcher = Calls()
    router = EventRouter(dispatcher)
    heard: list[Any] = []
    router.on("a", lambda n: heard.append(("a", n)), once=False)
    router.on("b", lambda n: heard.append(("b", n)), once=False)
    for number, name in enumerate("abb"):
        router.arrived(Event(name, (number,), number, 1, "w"))
        if name == "a":
            dispatcher.calls.clear()  # the thread was interrupted before it queued the call
    dispatcher.make()
    assert heard == [("a", 0), ("b", 1), ("b", 2)]


def test_a_handler_gets_only_events_that_came_while_it_was_registered() -> None:
    dispatcher = Calls()
    router = EventRouter(dispatcher)
    router.listen()
    heard: list[Any] = []
    ended = router.on("n", lambda *args: heard.append("ended"), once=False)
    router.arrived(event(1))
    router.on("n", lambda *args: heard.append("late"), once=False)
    ended.cancel()
    dispatcher.make()
    router.arrived(event(2))
    dispatcher.make()
    assert heard == ["late"]
    assert dispatcher.has_callbacks()
    router.off("n", None)
    assert not dispatcher.has_callbacks()


def test_once_is_once_also_where_several_events_wait() -> None:
    dispatcher = Calls()
    router = EventRouter(dispatcher)
    heard: list[Any] = []
    router.on("n", lambda number, text: heard.append(number), once=True)
    for number in range(3):
        router.arrived(event(number))
    dispatcher.make()
    assert heard == [0]
