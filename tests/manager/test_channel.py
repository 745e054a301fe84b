"""Frames over a real socket pair: what is left in a connection whose other side has gone."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from memsync.errors import ProtocolError
from memsync.manager.timing import TIMING
from memsync.manager.transport import channel as channels
from memsync.manager.transport.channel import Channel
from memsync.manager.transport.dial import set_up
from memsync.manager.transport.messages import Ping, parse
from memsync.replication.codec import frame
from memsync.replication.entries import SnapshotChunk

LATE_ANSWER = 0.5  # seconds; the kernel confirms what has arrived within 0.2 s


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Channel]]:
    """The writing end of a connection, and a channel that reads it."""
    writing, reading = socket.socketpair()
    channel = Channel(reading)
    yield writing, channel
    writing.close()
    channel.close()


def test_g3_a_drain_takes_all_whole_frames_also_behind_one_that_comes_in_pieces(
    pair: tuple[socket.socket, Channel],
) -> None:
    writing, channel = pair
    writing.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * TIMING.receive_bytes)
    big = frame(SnapshotChunk(b"x" * (TIMING.receive_bytes + 10), False))
    data = big + frame(Ping(1)) + frame(Ping(2)) + frame(Ping(3))[:-1]
    writing.setblocking(False)
    sent = writing.send(data)
    channel.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, b"\0" * 16)
    bodies: list[bytes] = []
    if sent < len(data):  # the system's buffers are smaller: the rest comes while it is drained
        assert channel.receive() == []
        sent += writing.send(data[sent:])
    writing.close()
    channel.shut_reading()
    bodies += map(bytes, channel.drain())
    assert sent == len(data)
    assert [type(parse(body)).__name__ for body in bodies] == ["SnapshotChunk", "Ping", "Ping"]


@pytest.fixture
def tcp() -> Iterator[tuple[Channel, Channel]]:
    """The two ends of a connection over loopback TCP: who sends, and who reads little at a time."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        reading = socket.socket()
        reading.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reading.connect(server.getsockname())
        writing, _ = server.accept()
    ends = Channel(writing), Channel(reading)
    for end in ends:
        set_up(end.sock, TIMING.receive)
    yield ends
    for end in ends:
        end.close()


def filled(sender: Channel, size: int) -> int:
    """Send messages until the other side has no room; returns their number.

    The kernel also keeps bytes because an answer of the other side is late, and sends them then.
    """
    data = frame(SnapshotChunk(b"x" * size, False))
    number = 0
    while sender.flush() or select.select([], [sender], [], LATE_ANSWER)[1]:
        sender.queue(data)
        number += 1
    return number


@pytest.mark.parametrize("size", [100, 10_000, TIMING.receive_bytes + 10])
def test_g3_a_drain_over_tcp_takes_what_the_kernel_of_the_sender_still_has(
    tcp: tuple[Channel, Channel], size: int
) -> None:
    sender, reader = tcp
    number = filled(sender, size)
    assert sender.delivered_total < sender.queued_total
    whole = sender.sent_total // (sender.queued_total // number)
    sender.close()
    reader.shut_reading()
    assert sum(1 for _ in reader.drain()) == whole


def test_over_tcp_a_frame_is_flushed_when_the_other_side_can_read_it(
    tcp: tuple[Channel, Channel],
) -> None:
    sender, reader = tcp
    filled(sender, 1000)
    assert not select.select([], [sender], [], 0)[1]  # it waits until the reader makes room
    while not sender.flush():
        list(reader.receive())
    assert sender.delivered_total == sender.sent_total == sender.queued_total
    assert select.select([], [sender], [], 0)[1]


def test_a_drain_of_a_sender_that_is_silent_ends(tcp: tuple[Channel, Channel]) -> None:
    sender, reader = tcp
    sender.queue(frame(Ping(1)))
    assert sender.flush()
    assert [parse(body) for body in reader.drain()] == [Ping(1)]


def test_a_drain_of_nothing_is_nothing(pair: tuple[socket.socket, Channel]) -> None:
    _, channel = pair
    assert list(channel.drain()) == []


def chopped(channel: Channel, writing: socket.socket, data: bytes, size: int) -> list[bytes]:
    """What a channel reads when data arrives in pieces of a size."""
    bodies: list[bytes] = []
    for start in range(0, len(data), size):
        writing.sendall(data[start : start + size])
        bodies += map(bytes, channel.receive())
    return bodies + list(map(bytes, channel.drain()))


@pytest.mark.parametrize("size", [1, 3, 5, 7, 1000])
def test_frames_arrive_whole_however_the_bytes_come(
    pair: tuple[socket.socket, Channel], size: int
) -> None:
    writing, channel = pair
    messages = [Ping(n) for n in (1, 2**40, 3)]
    found = chopped(channel, writing, b"".join(map(frame, messages)), size)
    assert [parse(body) for body in found] == messages
    assert channel.incomplete == b""


def test_a_frame_that_is_larger_than_the_buffer_comes_in_one_piece(
    pair: tuple[socket.socket, Channel],
) -> None:
    writing, channel = pair
    large = [SnapshotChunk(bytes([n]) * (TIMING.receive_bytes * n), False) for n in (1, 2, 3)]
    data = b"".join(frame(chunk) + frame(Ping(n)) for n, chunk in enumerate(large))
    found = chopped(channel, writing, data, TIMING.receive_bytes // 3)
    assert [type(parse(body)).__name__ for body in found] == ["SnapshotChunk", "Ping"] * 3
    assert [parse(body) for body in found[::2]] == large


def test_a_large_frame_takes_memory_as_its_bytes_come(
    pair: tuple[socket.socket, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "TIMING", replace(TIMING, receive_bytes=16, large_bytes=64))
    writing, reading = socket.socketpair()
    channel = Channel(reading)
    chunk = SnapshotChunk(b"x" * 1000, True)
    data = frame(chunk) + frame(Ping(7))
    assert chopped(channel, writing, data[:100], 50) == []
    assert channel.incomplete == data[:100]
    found = chopped(channel, writing, data[100:], 30)
    assert [parse(body) for body in found] == [chunk, Ping(7)]
    writing.close()
    channel.close()


def test_a_frame_over_the_limit_ends_the_reading(pair: tuple[socket.socket, Channel]) -> None:
    writing, channel = pair
    channel.max_frame = 100
    writing.sendall(frame(SnapshotChunk(b"x" * 200, True)) + frame(Ping(1)))
    with pytest.raises(ProtocolError, match=r"a frame of \d+ bytes .* network.maxFrame is 100"):
        channel.receive()
    writing.sendall(frame(Ping(2)))
    with pytest.raises(ProtocolError, match="maxFrame"):
        list(channel.drain())
