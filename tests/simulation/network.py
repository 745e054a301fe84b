"""Sockets and listeners of the virtual platform.

A connection is two pipes. What the sender's kernel took stays readable when the sender dies, then
comes the end of the stream, or a reset when the dead side had not read all. A link that is stopped
hides what is in the pipe from its reader, until it is resumed or the reader fences.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from memsync.errors import MemSyncError
from memsync.manager.transport.channel import Channel
from memsync.manager.transport.messages import Hello, parse
from memsync.replication.codec import HEADER

from .disk import File

if TYPE_CHECKING:
    from memsync.manager.transport.server import ServerConfig

    from .process import Process
    from .world import World


class Pipe:
    """One direction of a connection."""

    __slots__ = ("buffer", "capacity", "ended", "fenced", "reset", "stopped")

    def __init__(self, capacity: int) -> None:
        self.buffer = bytearray()
        self.capacity = capacity
        self.ended = False  # the writer is gone
        self.reset = False  # and had not read all that was sent to it
        self.stopped = False  # what is in here does not arrive for now
        self.fenced = False  # the reader takes what is in here and nothing more

    @property
    def is_readable(self) -> bool:
        if self.fenced:
            return True
        return not self.stopped and (bool(self.buffer) or self.ended)


class Socket:
    """One end of a connection, with what `Channel` needs of a socket."""

    family = socket.AF_UNIX

    def __init__(self, process: Process, inbound: Pipe, outbound: Pipe) -> None:
        self.process = process
        self.inbound = inbound
        self.outbound = outbound
        self.other: Socket
        self.closed = False
        self.channel: Channel | None = None
        self.in_hand = b""  # read by a thread that is preempted
        self.on_end: Callable[[], None] | None = None

    def fileno(self) -> int:
        return -1 if self.closed else id(self)

    def send(self, data: bytes, flags: int = 0) -> int:
        """Hand bytes to the kernel; it may take only some."""
        self.process.call("send")
        self.process.preempt()
        if self.closed or self.other.closed or self.outbound.fenced:
            raise BrokenPipeError("the other side is gone")
        room = self.outbound.capacity - len(self.outbound.buffer)
        if room <= 0:
            raise BlockingIOError
        taken = min(room, len(data))
        if self.process.world.buggify("a send takes one byte"):
            taken = 1
        self.outbound.buffer += data[:taken]
        self.other.process.notify()
        return taken

    def recv_into(self, buffer: memoryview, size: int = 0, flags: int = 0) -> int:
        """Read what has arrived into a buffer."""
        data = self._recv(size or len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _recv(self, size: int) -> bytes:
        self.process.call("recv")
        pipe = self.inbound
        if pipe.buffer and (pipe.fenced or not pipe.stopped):
            if self.process.world.buggify("a read gives a piece"):
                size = self.process.world.streams["network"].randint(1, len(pipe.buffer))
            data = bytes(pipe.buffer[:size])
            del pipe.buffer[:size]
            self.other.process.notify()
            self.in_hand = data
            try:
                self.process.preempt()
            finally:
                self.in_hand = b""
            return data
        if pipe.fenced or (pipe.ended and not pipe.stopped):
            if pipe.reset:
                pipe.reset = False
                raise ConnectionResetError("the other side had not read all")
            return b""
        raise BlockingIOError

    def shutdown(self, how: int) -> None:
        self.process.call("shutdown")
        if how == socket.SHUT_RD:
            self.inbound.fenced = True
            self.process.notify()  # another thread may wait for bytes
        else:
            self.outbound.ended = True
        self.other.process.notify()

    def close(self) -> None:
        self.process.call("close")
        self.end()

    def end(self) -> None:
        """The kernel closes it."""
        if self.closed:
            return
        self.closed = True
        self.outbound.ended = True
        self.outbound.reset = bool(self.inbound.buffer)
        self.inbound.fenced = True
        self.other.process.notify()
        if self.on_end is not None:
            self.on_end()


def connect(world: World, dialer: Process, listener: Process) -> tuple[Socket, Socket]:
    """A new connection: the dialer's end and the listener's."""
    capacity = world.pipe_capacity
    there, back = Pipe(capacity), Pipe(capacity)
    mine = Socket(dialer, back, there)
    theirs = Socket(listener, there, back)
    mine.other, theirs.other = theirs, mine
    mine.process.sockets.append(mine)
    theirs.process.sockets.append(theirs)
    return mine, theirs


class Server:
    """What a host listens with."""

    def __init__(self, process: Process, address: str, config: ServerConfig) -> None:
        self.process = process
        self.endpoint = address
        self._config = config
        self._waiting: list[Callable[[], None]] = []
        self._started = False
        self.ended = False
        process.world.listeners[address] = self
        process.disk.files[address] = File(b"", None)

    def start(self) -> None:
        self.process.call("listen")
        self._started = True
        for handshake in self._waiting:
            handshake()
        self._waiting = []

    def stop(self) -> None:
        self.process.call("close listener")
        if not self.ended:
            self.process.disk.files.pop(self.endpoint, None)
        self.end()

    def end(self) -> None:
        """The kernel closes it."""
        self.ended = True
        if self.process.world.listeners.get(self.endpoint) is self:
            del self.process.world.listeners[self.endpoint]

    def accept(self, theirs: Socket, key: bytes, data: bytes, done: Callable[[bool], None]) -> None:
        """A connection has come: it shakes hands once the server has started.

        `done` is called with whether the dialing process had the right key.
        """

        def handshake() -> None:
            self.process.when_running(shake)

        def shake() -> None:
            if self.ended or theirs.other.closed:
                theirs.end()
                done(True)
                return
            if key != self._config.authkey():
                theirs.end()
                done(False)
                return
            hello = parse(data[HEADER:])
            assert isinstance(hello, Hello)
            try:
                self._config.attach(as_channel(theirs), hello)
            except MemSyncError:
                theirs.end()
            done(True)

        if self._started:
            handshake()
        else:
            self._waiting.append(handshake)


def as_channel(sock: Socket) -> Channel:
    """A channel over a virtual socket."""
    fake: Any = sock
    sock.channel = Channel(fake)
    return sock.channel
