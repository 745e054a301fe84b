"""One authenticated connection that carries frames; no policy, no thread of its own.

Incoming bytes are read in large pieces and cut into frames. Outgoing frames are gathered and
written with one ``send`` that never blocks: bytes that the kernel does not take stay queued. The
caller makes sure that one thread reads at a time, and one writes.
"""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
from collections import deque
from collections.abc import Iterator

from ...errors import ProtocolError
from ...replication.codec import HEADER, body_length
from ...runtime import forks
from ..timing import TIMING

FRAME_MAX = 2**31 - 1  # bytes; the limit for a host, and for a peer that is not attached yet


class ChannelLost(Exception):
    """The connection has ended, with the reason. Never leaves the package."""


class Channel:
    """Frames over a socket; `max_frame` bounds an incoming frame, in bytes."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.max_frame = FRAME_MAX
        self.queued_total = 0  # bytes ever queued
        self.sent_total = 0  # bytes the kernel has taken
        self._inbound = bytearray()
        self._outbound: deque[bytes] = deque()
        self._begun = False  # the first outbound frame has been sent in part

    def fileno(self) -> int:
        return self.sock.fileno()

    @property
    def has_output(self) -> bool:
        return bool(self._outbound)

    @property
    def backlog(self) -> int:
        """Bytes queued that the kernel has not taken."""
        return self.queued_total - self.sent_total

    def receive(self, *, wait: bool = False) -> list[bytes | memoryview]:
        """The bodies of the frames that have arrived, which may be none.

        With `wait` the call lasts until bytes arrive or the socket's receive time-out passes.
        Raises `ChannelLost` at the end of the stream, `ProtocolError` for a frame over the limit.
        """
        try:
            data = self.sock.recv(TIMING.receive_bytes, 0 if wait else socket.MSG_DONTWAIT)
        except (BlockingIOError, TimeoutError):
            return []
        except OSError as error:
            raise ChannelLost(str(error)) from error
        if not data:
            raise ChannelLost("the other side closed the connection")
        return list(self._cut(data))

    def receive_within(self, seconds: float) -> list[bytes | memoryview]:
        """`receive` that waits for `seconds` at most, and no longer than the socket's time-out."""
        if seconds > TIMING.receive:
            return self.receive(wait=True)
        return self.receive() if self.wait_readable(seconds) else []

    def drain(self) -> Iterator[bytes | memoryview]:
        """The bodies of all whole frames that have arrived, up to the end or the last byte."""
        while True:
            try:
                data = self.sock.recv(TIMING.receive_bytes, socket.MSG_DONTWAIT)
            except OSError:
                return
            if not data:
                return
            yield from self._cut(data)

    def wait_readable(self, seconds: float) -> bool:
        """Wait until bytes or the end of the stream arrive; False after `seconds` without."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def queue(self, frame: bytes) -> None:
        """Append a frame; `flush` sends it."""
        self._outbound.append(frame)
        self.queued_total += len(frame)

    def flush(self) -> bool:
        """Hand queued frames to the kernel; True when it took them all. Raises `ChannelLost`."""
        outbound = self._outbound
        while outbound:
            data = outbound.popleft()
            if outbound and len(data) < TIMING.send_bytes:
                data = self._gather(data)
            try:
                sent = self.sock.send(data, socket.MSG_DONTWAIT)
            except BlockingIOError:
                outbound.appendleft(data)
                return False
            except OSError as error:
                outbound.appendleft(data)
                raise ChannelLost(str(error)) from error
            self.sent_total += sent
            self._begun = sent < len(data)
            if self._begun:
                outbound.appendleft(data[sent:])
                return False
        return True

    def drop_unsent(self, keep: int) -> None:
        """Drop the frames that the kernel has not begun to take, from the byte `keep` on.

        `keep` is on the scale of `queued_total`, and is the first byte of a frame.
        """
        outbound = self._outbound
        while len(outbound) > self._begun and self.queued_total - len(outbound[-1]) >= keep:
            self.queued_total -= len(outbound.pop())

    def shut_reading(self) -> None:
        """End the incoming stream and wake a blocked reader; bytes that have come stay readable."""
        with contextlib.suppress(OSError):  # the other side may have closed already
            self.sock.shutdown(socket.SHUT_RD)

    def shut_writing(self) -> None:
        """End the outgoing stream."""
        with contextlib.suppress(OSError):  # the other side may have closed already
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        forks.release(self)
        self.sock.close()

    def _gather(self, first: bytes) -> bytes:
        parts = [first]
        size = len(first)
        while self._outbound and size < TIMING.send_bytes:
            part = self._outbound.popleft()
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    def _cut(self, data: bytes) -> Iterator[bytes | memoryview]:
        if self._inbound:
            self._inbound += data
            whole: bytes | memoryview = bytes(self._inbound) if self._is_complete() else b""
            if not whole:
                return
            self._inbound.clear()
        else:
            whole = data
        view = memoryview(whole)
        position, size = 0, len(view)
        while size - position >= HEADER:
            length = body_length(view, position)
            self._check(length)
            end = position + HEADER + length
            if end > size:
                break
            yield view[position + HEADER : end]
            position = end
        self._inbound += view[position:]

    def _is_complete(self) -> bool:
        """Whether the first frame is whole; until then a big frame is not copied at every read."""
        inbound = self._inbound
        if len(inbound) < HEADER:
            return False
        length = body_length(inbound)
        self._check(length)
        return len(inbound) >= HEADER + length

    def _check(self, length: int) -> None:
        if length > self.max_frame:
            raise ProtocolError(
                f"a frame of {length} bytes came, and network.maxFrame is {self.max_frame}: raise "
                "it for the whole group, unless the other side does not speak this protocol"
            )


def change_interest(
    selector: selectors.BaseSelector, channel: Channel, old: int, new: int, data: object = None
) -> int:
    """Change the mask of events that a selector waits for on a channel; 0 is none.

    Returns the new mask.
    """
    if old == new:
        return new
    if not old:
        selector.register(channel, new, data)
    elif not new:
        selector.unregister(channel)
    else:
        selector.modify(channel, new, data)
    return new
