"""The reader role and the sender role of a link, over a socket pair and with two threads."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from memsync.manager.client.stream import SharedStream
from memsync.manager.context import PeerContext
from memsync.manager.platform.task import run_task
from memsync.manager.timing import TIMING
from memsync.manager.transport.channel import Channel
from memsync.testing import PATIENCE, until

from .builders import new_context

FRAME = b"\0\0\0\5hello"


class Link:
    """A stream, the other end of its socket, and one more thread that uses the stream.

    The test's own thread is the driver. `unanswered` says whether a proposal has no answer yet.
    """

    def __init__(self, ctx: PeerContext, other: ThreadPoolExecutor) -> None:
        ours, self.host = socket.socketpair()
        self.host.settimeout(PATIENCE)
        self.channel = Channel(ours)
        self.unanswered = False
        self.stream = SharedStream(ctx, self.channel, lambda number: self.unanswered)
        self.ctx = ctx
        self.other = other

    def interest(self) -> int:
        """What the driver's selector looks for on the channel."""
        return self.stream.interest

    def is_driver_woken(self) -> bool:
        """Whether the driver would wake now from its selector."""
        return bool(self.stream.selector.select(0))

    def elsewhere(self, function: object, *arguments: object) -> object:
        """Call a function on the other thread; returns what it returns."""
        assert callable(function)
        return self.other.submit(function, *arguments).result(PATIENCE)

    def received(self) -> bytes:
        """What the host gets."""
        return self.host.recv(1 << 20)


@pytest.fixture
def link(folder: Path) -> Iterator[Link]:
    timing = replace(TIMING, fence=0.5, fence_check=0.01)
    with new_context(folder, timing=timing) as ctx, ThreadPoolExecutor(1) as other:
        made = Link(ctx, other)
        yield made
        made.stream.close()
        made.host.close()


# -- the reader role -------------------------------------------------------------------------------


def test_a_thread_that_reads_takes_the_socket_out_of_the_drivers_selector(link: Link) -> None:
    assert link.interest() == selectors.EVENT_READ
    assert link.elsewhere(link.stream.take_role) is True
    assert link.interest() == 0
    link.host.sendall(FRAME)
    assert not link.is_driver_woken()
    assert link.elsewhere(lambda: [bytes(body) for body in link.channel.receive()]) == [b"hello"]
    link.elsewhere(link.stream.leave_role)
    assert link.interest() == selectors.EVENT_READ
    link.host.sendall(FRAME)
    assert link.is_driver_woken()


def test_there_is_one_reader_at_a_time(link: Link) -> None:
    assert link.elsewhere(link.stream.take_role) is True
    assert link.stream.take_role() is False
    link.elsewhere(link.stream.leave_role)
    assert link.stream.take_role() is True
    assert link.elsewhere(link.stream.take_role) is False
    assert link.interest() == selectors.EVENT_READ  # the driver reads by its own selector


def test_nobody_takes_the_role_on_a_stream_that_has_ended_and_the_first_reason_stays(
    link: Link,
) -> None:
    link.stream.lose("the host hangs")
    link.stream.lose("something else")
    assert (link.stream.lost, link.stream.reason) == (True, "the host hangs")
    assert link.stream.take_role() is False


def test_a_reader_that_leaves_an_ended_stream_wakes_the_driver(link: Link) -> None:
    link.elsewhere(link.stream.take_role)
    link.stream.lose("the host hangs")
    assert not link.is_driver_woken()
    link.elsewhere(link.stream.leave_role)
    assert link.is_driver_woken()


def test_the_driver_that_reads_and_sends_on_an_ended_stream_does_not_wake_itself(
    link: Link,
) -> None:
    link.stream.take_role()
    link.stream.queue([FRAME])
    link.stream._sender = link.ctx.platform.task_id()
    link.stream.lose("the other side closed the connection")
    assert link.stream._send_some() is False
    link.stream.leave_role()
    assert not link.is_driver_woken()


# -- the fence -------------------------------------------------------------------------------------


def test_a_fence_wakes_a_blocked_reader_and_the_driver_reads_what_has_arrived(link: Link) -> None:
    is_reading = threading.Event()
    found: list[bytes] = []

    def read() -> None:
        link.stream.take_role()
        is_reading.set()
        link.channel.wait_readable(PATIENCE)
        link.stream.leave_role()

    reading = link.other.submit(read)
    assert is_reading.wait(PATIENCE)
    link.stream.lose("the host's lock is free")
    run_task(link.stream.fence())
    reading.result(PATIENCE)
    assert link.elsewhere(link.stream.take_role) is False
    found += map(bytes, link.channel.drain())
    assert found == []


def test_what_arrived_before_a_fence_is_read_and_nothing_comes_after_it(link: Link) -> None:
    link.host.sendall(FRAME)
    link.stream.lose("the host hangs")
    run_task(link.stream.fence())
    assert [bytes(body) for body in link.channel.drain()] == [b"hello"]
    with pytest.raises(OSError, match=r"[Bb]roken pipe"):
        link.host.sendall(FRAME)


def test_a_fence_does_not_wait_for_ever_for_a_reader_that_stays(link: Link) -> None:
    link.elsewhere(link.stream.take_role)
    begin = link.ctx.platform.monotonic()
    run_task(link.stream.fence())
    assert 0.5 <= link.ctx.platform.monotonic() - begin < PATIENCE


def test_a_reader_that_a_fence_has_left_behind_handles_nothing(link: Link) -> None:
    link.elsewhere(link.stream.take_role)
    link.stream.lose("the host hangs")
    run_task(link.stream.fence())
    assert link.stream.interrupted  # that reader may have bytes, so nothing is drained
    assert link.elsewhere(link.stream.begin_handling) is False
    link.elsewhere(link.stream.leave_role)
    assert link.stream.begin_handling() is True


# -- interrupts ------------------------------------------------------------------------------------


def test_an_interrupted_reader_gives_up_its_role_and_the_stream_ends(link: Link) -> None:
    link.elsewhere(link.stream.take_role)
    assert link.elsewhere(link.stream.on_interrupt) is True
    assert link.stream.interrupted
    assert link.stream.reason == "a thread was interrupted while it used the link"
    run_task(link.stream.fence())  # the role is free


def test_an_interrupted_thread_without_a_role_takes_none_from_the_reader(link: Link) -> None:
    link.elsewhere(link.stream.take_role)
    assert link.stream.on_interrupt() is False
    assert link.elsewhere(link.stream.on_interrupt) is True


# -- the sender role -------------------------------------------------------------------------------


def test_what_is_queued_goes_out_with_a_kick_in_one_piece_and_in_order(link: Link) -> None:
    link.stream.queue([b"one ", b"two "], 1)
    link.elsewhere(link.stream.queue, [b"three"], 2)
    link.elsewhere(link.stream.kick)
    assert link.received() == b"one two three"
    link.stream.send([b"four"])
    assert link.received() == b"four"


def test_a_coalesced_kick_leaves_a_write_for_the_next_answer_or_a_full_packet(link: Link) -> None:
    link.stream.queue([b"first"], 1)
    link.stream.kick(coalesced=True)
    assert link.received() == b"first"  # no answer is due that would send it
    link.unanswered = True
    link.stream.queue([b"second"], 2)
    link.stream.kick(coalesced=True)
    assert link.channel.has_output
    link.stream.queue([b"x" * TIMING.packet], 3)
    link.stream.kick(coalesced=True)
    assert link.received() == b"second" + b"x" * TIMING.packet


def test_what_a_thread_queues_while_another_sends_is_sent_by_that_one(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_sending, may_send, flush = threading.Event(), threading.Event(), link.channel.flush

    def slow() -> bool:
        is_sending.set()
        assert may_send.wait(PATIENCE)
        return flush()

    monkeypatch.setattr(link.channel, "flush", slow)
    link.stream.queue([b"one "], 1)
    sending = link.other.submit(link.stream.kick)
    assert is_sending.wait(PATIENCE)
    link.stream.queue([b"two"], 2)
    link.stream.kick()  # returns at once
    assert link.channel.backlog == len(b"one two")
    may_send.set()
    sending.result(PATIENCE)
    assert link.received() == b"one two"


def test_what_the_kernel_does_not_take_is_left_to_the_driver(link: Link) -> None:
    size = 1 << 22
    link.elsewhere(link.stream.send, [b"x" * size])
    assert link.interest() == selectors.EVENT_READ | selectors.EVENT_WRITE
    link.stream.send([b"y"])  # waits behind it
    got = bytearray()

    def is_sent() -> bool:
        got.extend(link.received())
        if link.channel.has_output:
            link.stream.may_write()
        return len(got) == size + 1

    until(is_sent)
    assert got == b"x" * size + b"y"
    assert link.interest() == selectors.EVENT_READ


def test_a_failure_to_send_is_left_to_the_reader(link: Link) -> None:
    link.host.sendall(FRAME)
    link.host.close()
    link.stream.send([b"one"])
    assert not link.stream.lost
    assert [bytes(body) for body in link.channel.receive()] == [b"hello"]
