"""Links over sockets: frames in parts, peers that take nothing, garbage, interrupts, the end."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from unittest import mock

import pytest

from memsync.errors import ProtocolError, TooLargeError
from memsync.manager.platform.platform import Platform
from memsync.manager.transport.channel import Channel
from memsync.replication.codec import frame_of
from memsync.rpc import wire
from memsync.rpc.messages import Cancel, Item, Message, Payload, encode
from memsync.rpc.wire import ReadingLoop, SocketLink
from memsync.testing import until

MOST = 1 << 24  # bytes of a message


class Receiver:
    """Keeps what it gets; `answer` is called with each message."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.reasons: list[str] = []
        self.answer: Callable[[Message], object] = lambda message: None

    def received(self, message: Message) -> None:
        self.messages.append(message)
        self.answer(message)

    def lost(self, reason: str) -> None:
        self.reasons.append(reason)


class End:
    """One end of a connection with its receiver."""

    def __init__(self, loop: ReadingLoop, sock: socket.socket) -> None:
        self.receiver = Receiver()
        self.link = SocketLink(Channel(sock), "peer", os.getpid(), MOST, loop)
        self.link.receiver = self.receiver
        loop.add(self.link)


@pytest.fixture
def loops() -> Iterator[list[ReadingLoop]]:
    """The reading threads of two peers."""
    found = [ReadingLoop(Platform()) for _ in range(2)]
    yield found
    for loop in found:
        loop.stop()


@pytest.fixture
def ends(loops: list[ReadingLoop]) -> list[End]:
    """Both ends of a connection."""
    return [End(loop, sock) for loop, sock in zip(loops, socket.socketpair(), strict=True)]


def item(number: int, size: int = 0) -> Item:
    return Item(number, Payload(bytes(size)))


def test_messages_come_in_order_whatever_their_size(ends: list[End]) -> None:
    one, other = ends
    sizes = [0, 1, 100_000, 3_000_000, 0, 10, 1_000_000, 0]
    for number, size in enumerate(sizes):
        one.link.send(item(number, size))
    until(lambda: len(other.receiver.messages) == len(sizes))
    assert other.receiver.messages == [item(n, size) for n, size in enumerate(sizes)]


def test_many_threads_send_whole_messages(ends: list[End]) -> None:
    one, other = ends
    other.receiver.answer = other.link.send  # from the reading thread

    def send(thread: int) -> None:
        for number in range(50):
            one.link.send(item(thread * 100 + number, 20_000))

    threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    until(lambda: len(one.receiver.messages) == 200)
    for n in range(4):
        own = [m.id for m in one.receiver.messages if m.id // 100 == n]
        assert own == [n * 100 + number for number in range(50)]


def test_a_message_over_the_limit_leaves_the_link_usable(ends: list[End]) -> None:
    one, other = ends
    with pytest.raises(TooLargeError):
        one.link.send(item(1, MOST + 1))
    one.link.send(item(2))
    until(lambda: other.receiver.messages == [item(2)])


def test_a_peer_that_takes_nothing_slows_a_sender_and_blocks_nobody(
    loops: list[ReadingLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "BACKLOG_BYTES", 100_000)
    monkeypatch.setattr(wire, "BACKLOG_SECONDS", 0.2)
    mine, deaf = socket.socketpair()
    one = End(loops[0], mine)
    began = time.monotonic()
    for number in range(5):
        one.link.send(item(number, 1_000_000))
    assert 0.5 < time.monotonic() - began < 5
    good = [End(loop, sock) for loop, sock in zip(loops, socket.socketpair(), strict=True)]
    good[0].link.send(item(7))
    until(lambda: good[1].receiver.messages == [item(7)])
    monkeypatch.setattr(wire, "BACKLOG_SECONDS", 60)
    waiting = threading.Thread(target=one.link.send, args=(item(9, 1_000_000),))
    waiting.start()
    until(lambda: one.link._waiting)
    deaf.close()  # ends the wait
    waiting.join(20)
    assert not waiting.is_alive()
    until(lambda: len(one.receiver.reasons) == 1)


@pytest.mark.parametrize("end", [0, 1])
def test_both_ends_are_told_once_when_one_closes(ends: list[End], end: int) -> None:
    ends[end].link.close()
    until(lambda: all(len(each.receiver.reasons) == 1 for each in ends))
    for each in ends:
        with pytest.raises(ConnectionError):
            each.link.send(item(1))
        each.link.close()
    time.sleep(0.05)
    assert all(len(each.receiver.reasons) == 1 for each in ends)


def test_the_end_of_the_loop_ends_its_links_and_later_ones(
    loops: list[ReadingLoop], ends: list[End]
) -> None:
    loops[0].stop()
    until(lambda: all(len(each.receiver.reasons) == 1 for each in ends))
    assert ends[0].receiver.reasons == [wire.STOPPED]
    mine, theirs = socket.socketpair()
    late = End(loops[0], mine)
    until(lambda: late.receiver.reasons == [wire.STOPPED])
    theirs.close()


@pytest.mark.parametrize(
    "data",
    [
        frame_of(b"hello"),
        frame_of(b""),
        b"\xff\xff\xff\xff",
        frame_of(encode(Cancel(1), MOST))[:-1] + b"\xc1",
    ],
)
def test_garbage_ends_its_own_link_only(
    loops: list[ReadingLoop], ends: list[End], data: bytes
) -> None:
    mine, theirs = socket.socketpair()
    hit = End(loops[0], mine)
    theirs.sendall(data)
    until(lambda: len(hit.receiver.reasons) == 1)
    ends[1].link.send(item(3))
    until(lambda: ends[0].receiver.messages == [item(3)])
    theirs.close()


@pytest.mark.parametrize("error", [ProtocolError("not now"), RuntimeError("a bug")])
def test_what_a_receiver_raises_ends_the_link(ends: list[End], error: Exception) -> None:
    ends[1].receiver.answer = mock.Mock(side_effect=error)
    ends[0].link.send(item(1))
    until(lambda: all(len(each.receiver.reasons) == 1 for each in ends))
    assert str(error) in ends[1].receiver.reasons[0]


def test_an_interrupt_that_lost_a_frame_ends_the_link(ends: list[End]) -> None:
    one, other = ends
    flush = one.link.channel.flush

    def interrupted() -> bool:
        one.link.channel._outbound.popleft()
        raise KeyboardInterrupt

    with (
        mock.patch.object(one.link.channel, "flush", interrupted),
        pytest.raises(KeyboardInterrupt),
    ):
        one.link.send(item(1))
    assert flush == one.link.channel.flush
    until(lambda: all(len(each.receiver.reasons) == 1 for each in ends))
    assert other.receiver.messages == []


def test_an_interrupt_that_lost_nothing_leaves_the_link_usable(ends: list[End]) -> None:
    one, other = ends
    with (
        mock.patch.object(one.link.channel, "flush", mock.Mock(side_effect=KeyboardInterrupt)),
        pytest.raises(KeyboardInterrupt),
    ):
        one.link.send(item(1))
    one.link.send(item(2))
    until(lambda: other.receiver.messages == [item(1), item(2)])


def test_a_forked_child_sends_nothing(ends: list[End]) -> None:
    child = mock.Mock(return_value=os.getpid() + 1)
    with (
        mock.patch("os.getpid", child),
        pytest.raises(ConnectionError, match="another process"),
    ):
        ends[0].link.send(item(1))
