"""One authenticated connection that carries frames; no policy, no thread of its own.

Incoming bytes are read into one buffer and cut into frames there. The bodies are views of that
buffer, so they are valid until the next read. A frame that is larger than the buffer gets a buffer
of its own. Outgoing frames are gathered and written with one ``send`` that never blocks: bytes that
the kernel does not take stay queued. The caller makes sure that one thread reads at a time, and one
writes.
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import sys
from collections import deque
from collections.abc import Iterator

from ...errors import ProtocolError
from ...lasting import lasting
from ...replication.codec import HEADER, body_length
from ...runtime import forks
from ..platform.selector import Selector
from ..platform.sockets import poll
from ..timing import TIMING

FRAME_MAX = 2**31 - 1  # bytes; the limit for a host, and for a peer that is not attached yet


_UNSENT = 0x894B if sys.platform == "linux" else None
"""SIOCOUTQNSD: how many bytes of a TCP connection its kernel has not sent yet."""


@lasting
class ChannelLost(Exception):
    """The connection has ended, with the reason. Never leaves the package."""


class Channel:
    """Frames over a socket; `max_frame` bounds an incoming frame, in bytes."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fileno = sock.fileno  # each waiting write asks for it twice
        # Over TCP the kernel of the sender keeps what the receiver has no room for.
        self._is_tcp = sock.family != socket.AF_UNIX
        self.max_frame = FRAME_MAX
        self.queued_total = 0  # bytes ever queued
        self.sent_total = 0  # bytes the kernel has taken
        self.received_total = 0  # bytes that have arrived
        # A new buffer for each read would cost a page fault per 4 KiB.
        self._inbound = memoryview(bytearray(TIMING.receive_bytes))
        self._begin = 0  # of the bytes in it that are not cut yet
        self._end = 0
        self._large: bytearray | None = None  # a frame that is larger than the buffer
        self._large_end = 0  # of the bytes that have arrived of it
        self._large_size = 0
        self.may_skip = False
        """Whether a frame for which there is no memory is skipped; see `pop_skipped`."""
        self._skipping = 0  # bytes of such a frame that have not arrived
        self._skipped = 0
        self._poll: select.poll | None = None
        self._outbound: deque[bytes | memoryview] = deque()
        self._begun = False  # the first outbound frame has been sent in part

    @property
    def has_output(self) -> bool:
        return bool(self._outbound)

    @property
    def backlog(self) -> int:
        """Bytes queued that the kernel has not taken."""
        return self.queued_total - self.sent_total

    @property
    def delivered_total(self) -> int:
        """Bytes that the other side can read, even if this process dies now."""
        return self.sent_total - self._unsent()

    def _unsent(self) -> int:
        """Bytes that the kernel of this side keeps, because the other side has no room for them."""
        if not self._is_tcp or _UNSENT is None:
            return 0
        return int.from_bytes(fcntl.ioctl(self.sock, _UNSENT, bytes(4)), sys.byteorder)

    @property
    def incomplete(self) -> bytes:
        """What has arrived of a frame that is not whole yet."""
        if self._large is not None:
            return bytes(self._large[: self._large_end])
        return bytes(self._inbound[self._begin : self._end])

    def receive(self) -> list[memoryview]:
        """The bodies of the frames that have arrived, which may be none.

        Raises `ChannelLost` at the end of the stream, `ProtocolError` for a frame over the limit.
        """
        try:
            count = self.sock.recv_into(self._room(), 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except OSError as error:
            raise ChannelLost(str(error)) from error
        if not count:
            raise ChannelLost("the other side closed the connection")
        self.received_total += count
        return self._cut(count)

    def drain(self) -> Iterator[memoryview]:
        """The bodies of all whole frames that the other side has left, up to the end.

        Over TCP more comes while this side reads. A frozen sender has no end; silence is one.
        """
        while True:
            try:
                count = self.sock.recv_into(self._room(), 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                if self._is_tcp and self.wait_readable(TIMING.silence):
                    continue
                return
            except OSError:
                return
            if not count:
                return
            yield from self._cut(count)

    def wait_readable(self, seconds: float) -> bool:
        """Wait until bytes or the end of the stream arrive; False after `seconds` without.

        A blocking ``recv`` on a Unix socket would also wake when the other side reads a request.
        """
        if self._poll is None:
            self._poll = poll()
            self._poll.register(self.sock, select.POLLIN)
        return bool(self._poll.poll(seconds * 1000))

    def queue(self, frame: bytes) -> None:
        """Append a frame; `flush` sends it."""
        self._outbound.append(frame)
        self.queued_total += len(frame)

    def flush(self) -> bool:
        """Hand queued frames to the kernel; True when it took them all. Raises `ChannelLost`.

        Over TCP they must be in the kernel of the other side, as they are over a Unix socket.
        """
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
                outbound.appendleft(memoryview(data)[sent:])
                return False
        return not self._unsent()

    def is_consistent(self) -> bool:
        """Whether the queue is what was not sent; an exception in `flush` may have lost a frame."""
        return sum(map(len, self._outbound)) == self.backlog

    def drop_unsent(self, keep: int) -> None:
        """Drop the frames that the kernel has not begun to take, from the byte `keep` on.

        `keep` is on the scale of `queued_total`, and is the first byte of a frame.
        """
        outbound = self._outbound
        while len(outbound) > self._begun and self.queued_total - len(outbound[-1]) >= keep:
            self.queued_total -= len(outbound.pop())

    def shut_reading(self) -> None:
        """End the incoming stream and wake a blocked reader; bytes that have come stay readable.

        Not over TCP: what is still on its way would be lost. A blocked reader wakes by itself.
        """
        if self._is_tcp:
            return
        with contextlib.suppress(OSError):  # the other side may have closed already
            self.sock.shutdown(socket.SHUT_RD)

    def shut_writing(self) -> None:
        """End the outgoing stream."""
        with contextlib.suppress(OSError):  # the other side may have closed already
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        forks.release(self)
        self.sock.close()

    def _gather(self, first: bytes | memoryview) -> bytes:
        parts = [first]
        size = len(first)
        while self._outbound and size < TIMING.send_bytes:
            part = self._outbound.popleft()
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    def pop_skipped(self) -> int:
        """The size of a frame that was skipped, or 0; see `may_skip`."""
        size, self._skipped = self._skipped, 0
        return size

    def _room(self) -> memoryview:
        """Where the next bytes go."""
        if self._skipping:
            return self._inbound[: self._skipping]
        if self._large is not None:
            return self._large_room(self._large)
        if not self._end:
            return self._inbound
        size = self._end - self._begin
        if self._begin:
            self._inbound[:size] = self._inbound[self._begin : self._end]
            self._begin, self._end = 0, size
        return self._inbound[size:]

    def _large_room(self, large: bytearray) -> memoryview:
        if self._large_end == len(large):  # it grows with what arrives, not with what was announced
            try:
                large.extend(bytes(min(len(large), self._large_size - len(large))))
            except MemoryError:
                if not self.may_skip:
                    raise
                self._large, self._skipping = None, self._large_size - self._large_end
                return self._inbound[: self._skipping]
        return memoryview(large)[self._large_end :]

    def _cut(self, count: int) -> list[memoryview]:
        """The bodies that are whole, now that `count` more bytes have arrived."""
        if self._skipping:
            self._skipping -= count
            if not self._skipping:
                self._skipped = self._large_size
            return []
        if self._large is not None:
            self._large_end += count
            if self._large_end < self._large_size:
                return []
            whole, self._large = memoryview(self._large), None
            return [whole[HEADER:]]
        bodies = []
        inbound, begin, end = self._inbound, self._begin, self._end + count
        while end - begin >= HEADER:
            length = body_length(inbound, begin)
            if length > self.max_frame:
                self._begin, self._end = begin, end  # nothing behind it can be read
                raise self._too_large(length)
            stop = begin + HEADER + length
            if stop > end:
                if stop - begin > len(inbound):
                    self._begin_large(stop - begin, inbound[begin:end])
                    begin = end
                break
            bodies.append(inbound[begin + HEADER : stop])
            begin = stop
        self._begin, self._end = (0, 0) if begin == end else (begin, end)
        return bodies

    def _begin_large(self, size: int, arrived: memoryview) -> None:
        self._large = large = bytearray(min(size, TIMING.large_bytes))
        self._large_size, self._large_end = size, len(arrived)
        large[: len(arrived)] = arrived

    def _too_large(self, length: int) -> ProtocolError:
        return ProtocolError(
            f"a frame of {length} bytes came, and network.maxFrame is {self.max_frame}: raise "
            "it for the whole group, unless the other side does not speak this protocol"
        )


def change_interest(
    selector: Selector, channel: Channel, old: int, new: int, data: object = None
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
        selector.change(channel, new)
    return new
