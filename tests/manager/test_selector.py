"""The two selectors behave alike."""

from __future__ import annotations

import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from memsync.manager.platform.selector import (
    READ,
    WRITE,
    PortableSelector,
    Selector,
    new_selector,
)

KINDS: list[Callable[[], Selector]] = [PortableSelector, new_selector]


@pytest.fixture(params=KINDS)
def selector(request: pytest.FixtureRequest) -> Iterator[Selector]:
    made: Selector = request.param()
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def found(selector: Selector, timeout: float = 0) -> list[tuple[object, object, int]]:
    """What is ready: the object, its data and the events."""
    return [(key.fileobj, key.data, mask) for key, mask in selector.select(timeout)]


def test_only_the_wanted_events_are_found(
    selector: Selector, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    selector.register(ours, READ, "data")
    assert found(selector) == []
    theirs.send(b"x")
    assert found(selector) == [(ours, "data", READ)]
    for events in (WRITE, READ, READ | WRITE, 0, READ, 0, WRITE, READ | WRITE):
        selector.change(ours, events)
        assert found(selector) == ([(ours, "data", events)] if events else [])
    selector.unregister(ours)
    assert found(selector) == []


def test_an_object_without_events_can_be_removed(
    selector: Selector, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    selector.register(ours, READ)
    selector.change(ours, 0)
    selector.unregister(ours)
    selector.register(ours, READ)
    assert found(selector) == [(ours, None, READ)]
    with pytest.raises(KeyError):
        selector.unregister(theirs)


def test_the_end_of_a_stream_is_found_at_most_once_without_events(
    selector: Selector, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    selector.register(ours, READ)
    selector.change(ours, 0)
    theirs.close()
    found(selector)
    assert found(selector) == []
    selector.change(ours, READ)
    assert [mask & READ for _, _, mask in found(selector)] == [READ]


def test_another_thread_can_let_a_waiting_one_see_more(
    selector: Selector, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    selector.register(ours, READ)
    selector.change(ours, 0)
    other = threading.Timer(0.05, selector.change, (ours, READ))
    other.start()
    begin = time.monotonic()
    try:
        while not (ready := found(selector, 5)):
            assert time.monotonic() < begin + 5
    finally:
        other.join()
    assert ready == [(ours, None, READ)]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no epoll")
def test_linux_has_its_own() -> None:
    made = new_selector()
    made.close()
    assert not isinstance(made, PortableSelector)
    assert selectors.EVENT_READ == READ
