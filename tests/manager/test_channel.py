"""Frames over a real socket pair: what is left in a connection whose other side has gone."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from memsync.manager.timing import TIMING
from memsync.manager.transport.channel import Channel
from memsync.manager.transport.messages import Ping, parse
from memsync.replication.codec import frame
from memsync.replication.entries import SnapshotChunk


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


def test_a_drain_of_nothing_is_nothing(pair: tuple[socket.socket, Channel]) -> None:
    _, channel = pair
    assert list(channel.drain()) == []
