"""A peer that has the key and breaks the rules: raw messages over an attached connection."""

from __future__ import annotations

import os
import struct
import time
from types import TracebackType
from typing import Any

import msgspec

from memsync.manager import MemSyncManager
from memsync.manager.transport.channel import Channel, ChannelLost
from memsync.manager.transport.dial import dial
from memsync.manager.transport.messages import PROTOCOL, Hello, parse
from memsync.replication.codec import frame
from memsync.replication.entries import Decision, Entry, Propose
from memsync.testing import NAME

TIMESTAMP = 1_700_000_000_000 << 16


def hello(peer: str = "abcdef0123456789", **changes: Any) -> Hello:
    """The greeting of a decent peer, and what is changed in it."""
    fields: dict[str, Any] = {
        "protocol": PROTOCOL,
        "name": NAME,
        "peer": peer,
        "pid": os.getpid(),
        "roles": ["writer"],
        "epoch": 0,
        "version": 0,
        "first_open": 1,
    }
    return Hello(**(fields | changes))


def proposal(number: int = 1, **changes: Any) -> Propose:
    """A decent proposal, and what is changed in it."""
    fields: dict[str, Any] = {
        "number": number,
        "acked_below": 1,
        "timestamp": TIMESTAMP + number,
        "epoch": 1,
        "version": 1,
        "kind": "patch",
        "body": {"$inc": {"forged": 1}},
    }
    return Propose(**(fields | changes))


def framed(body: bytes) -> bytes:
    """Any bytes as a frame."""
    return struct.pack(">I", len(body)) + body


class RawClient:
    """An attached connection whose messages are written by hand."""

    def __init__(self, greeting: Hello | bytes | None = None) -> None:
        address, key = MemSyncManager.locate(NAME)
        self.peer = greeting.peer if isinstance(greeting, Hello) else "abcdef0123456789"
        raw = greeting if isinstance(greeting, bytes) else frame(greeting or hello())
        self._channel: Channel = dial(address, key, raw, timeout=5)

    def send(self, *frames: bytes) -> None:
        """Send raw frames, all of them."""
        for each in frames:
            self._channel.queue(each)
        while not self._channel.flush():
            pass

    def send_value(self, value: Any) -> None:
        """Send any value as the body of a frame, as MessagePack."""
        self.send(framed(msgspec.msgpack.encode(value)))

    def propose(self, proposal: Propose) -> Any:
        """Send a proposal; returns what the host answers: an own entry, a decision or a resend."""
        self.send(frame(proposal))
        return self.answer()

    def answer(self, timeout: float = 5) -> Any:
        """The next message that is about this peer's own writes."""
        for message in self.messages(timeout):
            own = isinstance(message, Entry) and message.peer == self.peer and message.number
            if own or isinstance(message, Decision) or type(message).__name__ == "Resend":
                return message
        raise AssertionError("there was no answer")

    def messages(self, timeout: float = 5) -> Any:
        """What comes in, until the connection ends or the time is over."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if not self._channel.wait_readable(left):
                return
            try:
                bodies = self._channel.receive()
            except ChannelLost:
                return
            yield from map(parse, bodies)

    def is_cut_off(self, timeout: float = 5) -> bool:
        """Whether the host ends the connection."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if not self._channel.wait_readable(left):
                return False
            try:
                self._channel.receive()
            except ChannelLost:
                return True
        return False

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._channel.close()
