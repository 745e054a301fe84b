"""Links inside of one process."""

from __future__ import annotations

import threading
from functools import partial
from unittest import mock

import pytest

from memsync.errors import ProtocolError
from memsync.rpc import courier
from memsync.rpc.courier import CourierLink, new_pair
from memsync.rpc.messages import Item, Message, Payload
from memsync.testing import until


class Receiver:
    """Notes what it gets, and on which thread; answers items with a smaller id."""

    def __init__(self, link: CourierLink) -> None:
        self.link = link
        self.messages: list[Message] = []
        self.reasons: list[str] = []
        self.threads: set[str] = set()

    def received(self, message: Message) -> None:
        self.threads.add(threading.current_thread().name)
        self.messages.append(message)
        if message.id:
            self.link.send(Item(message.id - 1, Payload(b"")))

    def lost(self, reason: str) -> None:
        self.reasons.append(reason)


def pair() -> tuple[Receiver, Receiver]:
    """The receivers of a new connection."""
    one, other = (Receiver(link) for link in new_pair("a" * 16, "b" * 16, 1000))
    one.link.receiver, other.link.receiver = one, other
    return one, other


def test_messages_go_back_and_forth_on_one_thread_of_its_own() -> None:
    one, other = pair()
    assert (one.link.peer, other.link.peer) == ("b" * 16, "a" * 16)
    one.link.send(Item(9, Payload(b"x")))
    until(lambda: len(one.messages) + len(other.messages) == 10)
    assert one.threads == other.threads == {"memsync-courier"}
    one.link.close()
    until(lambda: one.reasons == other.reasons == ["the connection was closed"])


def _has_messages(receiver: Receiver) -> bool:
    return bool(receiver.messages)


def test_the_thread_ends_after_a_while_and_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "IDLE_SECONDS", 0.05)
    for _ in range(3):
        one, other = pair()
        one.link.send(Item(0, Payload(b"x")))
        until(partial(_has_messages, other))
        one.link.close()
        other.link.close()
        until(lambda: not courier._courier._is_running)


def test_nothing_is_sent_or_delivered_after_the_end() -> None:
    one, other = pair()
    other.link.close()
    with pytest.raises(ConnectionError):
        one.link.send(Item(0, Payload(b"x")))
    until(lambda: len(one.reasons) == len(other.reasons) == 1)
    assert other.messages == []


def test_what_a_receiver_raises_ends_the_link() -> None:
    one, other = pair()
    other.received = mock.Mock(side_effect=ProtocolError("not now"))  # type: ignore[method-assign]
    one.link.send(Item(0, Payload(b"x")))
    until(lambda: one.reasons == other.reasons == ["not now"])
