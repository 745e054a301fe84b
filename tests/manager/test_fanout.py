"""How long the host's pushes linger, on a clock of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from memsync.manager.host.fanout import ClientSession, FanOut
from memsync.manager.platform.selector import new_selector
from memsync.manager.timing import TIMING
from memsync.manager.transport.channel import Channel

LINGER = 0.001  # seconds
FLOOD = LINGER * TIMING.flood_lingers


class Group:
    """A host's fan-out with clients that take everything."""

    def __init__(self, undo: ExitStack, clients: int, linger: float = LINGER) -> None:
        self.now = 0.0
        selector = new_selector()
        undo.callback(selector.close)
        ctx: Any = SimpleNamespace(
            options=SimpleNamespace(network=SimpleNamespace(max_queue=1 << 20, linger=linger)),
            participant=SimpleNamespace(trace=None, name="group", state=SimpleNamespace(version=0)),
            platform=SimpleNamespace(
                processors=lambda: 2, monotonic=lambda: self.now, buggify=lambda where: False
            ),
            timing=TIMING,
        )
        self.state = ctx.participant.state
        self.fanout = FanOut(ctx, selector, lambda session, why: None, lambda session: None)
        for index in range(clients):
            ours, theirs = socket.socketpair()
            undo.callback(ours.close)
            undo.callback(theirs.close)
            self.fanout.add(ClientSession(f"peer {index}", Channel(ours)))

    def push(self, entries: int = 1) -> bool:
        """Push entries; returns whether they were sent at once."""
        for _ in range(entries):
            self.fanout.push(b"x")
        return self.flush()

    def flush(self) -> bool:
        self.fanout.flush(self.now)
        sent = {each.channel.sent_total for each in self.fanout.clients.values()}
        assert len(sent) == 1
        return not self.fanout._frames

    def pause(self, *, coming: bool = False) -> float:
        """The seconds until a push that was not sent at once is sent; entries may keep coming."""
        begin = self.now
        while coming and self.fanout.next_push > self.now + LINGER / 4:
            self.now += LINGER / 4
            assert not self.push()
        self.now = self.fanout.next_push
        assert self.flush()
        return self.now - begin


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_the_first_push_goes_at_once_and_the_next_ones_linger(undo: ExitStack) -> None:
    group = Group(undo, clients=3)
    assert group.push()
    assert not group.push()
    assert group.pause() == pytest.approx(LINGER)
    group.now += 10 * LINGER
    assert group.push()


@pytest.mark.parametrize("entries", [1, TIMING.flood - 1])
def test_pushes_of_a_few_entries_never_linger_longer(undo: ExitStack, entries: int) -> None:
    group = Group(undo, clients=3)
    group.push()
    for _ in range(20):
        assert not group.push(entries)
        assert group.pause() == pytest.approx(LINGER)


@pytest.mark.parametrize("entries", [TIMING.flood, 100])
def test_pushes_linger_longer_while_they_carry_many_entries(undo: ExitStack, entries: int) -> None:
    group = Group(undo, clients=3)
    group.push()
    group.push(entries)
    assert group.pause() == pytest.approx(LINGER)
    for _ in range(20):
        assert not group.push(entries)
        assert group.pause(coming=True) == pytest.approx(FLOOD)
    assert not group.push()
    assert group.pause() == pytest.approx(TIMING.quiet)  # the flood is over


def test_pushes_linger_as_long_as_entries_keep_coming(undo: ExitStack) -> None:
    group = Group(undo, clients=3, linger=100 * LINGER)
    group.push()
    assert not group.push()
    assert group.pause(coming=True) == pytest.approx(100 * LINGER)
    assert not group.push()
    assert group.pause() == pytest.approx(TIMING.quiet)


def test_in_a_flood_a_client_that_waits_for_an_answer_gets_it_at_once(undo: ExitStack) -> None:
    group = Group(undo, clients=3)
    group.push(100)
    writer = group.fanout.clients["peer 0"]
    for count in range(101, 120):
        group.fanout.push(b"x")
        group.fanout.flush_soon(writer)
        group.fanout.flush(group.now)
        assert writer.channel.sent_total == count
    group.fanout.flush_all_soon()  # a write concern
    assert group.flush()


def test_a_large_group_lingers_longer_than_a_flood(undo: ExitStack) -> None:
    group = Group(undo, clients=64)
    group.push(100)
    group.push(100)
    assert group.pause() == pytest.approx(64 * TIMING.wake / 2)


def test_without_lingering_nothing_waits(undo: ExitStack) -> None:
    group = Group(undo, clients=3, linger=0.0)
    assert all(group.push(100) for _ in range(20))


def test_the_oldest_version_is_that_of_the_client_that_was_sent_least(undo: ExitStack) -> None:
    group = Group(undo, clients=2, linger=10.0)
    first, second = group.fanout.clients.values()
    group.state.version = 1
    assert group.push()
    assert group.fanout.oldest == 1
    group.state.version = 2
    assert not group.push()
    group.fanout.send(first)
    assert (first.sent_version, second.sent_version, group.fanout.oldest) == (2, 1, 1)
    second.is_slow = True  # it gets a snapshot in any case
    assert group.fanout.oldest == 2
    group.fanout.clients.clear()
    group.state.version = 3
    assert group.fanout.oldest == 3
