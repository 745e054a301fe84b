"""Roads: how a peer is called, and calls others, with each engine.

A road listens once somebody wants to call its peer, and opens links to other peers. What the links
carry is the business of their receivers.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import MemSyncError, ProtocolError, RendezvousError
from ..manager.folder.folder import calls_address
from ..manager.platform.descriptors import hint
from ..manager.transport.channel import Channel, ChannelLost
from ..manager.transport.dial import dial
from ..manager.transport.messages import PROTOCOL, CallHello
from ..manager.transport.server import MemSyncServer, ServerConfig
from ..replication.codec import frame
from ..replication.kinds.method import Address
from ..replication.membership import check_peer_id
from ..runtime.native import Lock
from .courier import CourierLink, new_pair
from .link import Link, Receiver
from .wire import STOPPED, ReadingLoop, SocketLink

if TYPE_CHECKING:
    from ..manager.context import PeerContext
    from ..runtime.participant import Participant

NewReceiver = Callable[[Link], Receiver]
"""Makes the receiver of a new link, before anything is read from it."""


class Unreachable(Exception):
    """A peer cannot be called; `is_missing`: its socket is gone, though it may live."""

    def __init__(self, reason: str, *, is_missing: bool = False) -> None:
        super().__init__(reason)
        self.is_missing = is_missing


class Road(Protocol):
    """How one peer is called, and calls others; any thread may call any method."""

    def listen(self) -> Address:
        """Begin to listen, if need be again; raises `RendezvousError`."""

    def open(self, peer: str, address: Address, caller: NewReceiver, seconds: float) -> Link:
        """A link to another peer; raises `Unreachable` and `AuthenticationFailedError`."""

    def close(self) -> None:
        """Stop to listen, and close all links; waits a moment for its threads."""


class SocketRoad:
    """The road of the engine ``local``: a listener like that of a host, and sockets."""

    def __init__(self, ctx: PeerContext, callee: NewReceiver) -> None:
        self._ctx = ctx
        self._callee = callee
        self._server: MemSyncServer | None = None
        self._loop: ReadingLoop | None = None
        self._lock = Lock()  # of what is made, and of the end
        self._is_closed = False

    def listen(self) -> Address:
        ctx, network = self._ctx, self._ctx.options.network
        if self._server is not None:
            self._server.stop()  # somebody has deleted its socket
        self._started_loop()
        address = calls_address(ctx.place.folder, ctx.id)
        config = ServerConfig(
            document=None,
            authkey=ctx.place.key,
            attach=self._attach,
            max_handshakes=network.max_handshakes,
            handshake_timeout=network.handshake_timeout,
            proxies=False,
            opening=CallHello,
        )
        try:
            server = ctx.platform.serve(address, ctx.place.authkey, config)
        except OSError as error:
            raise RendezvousError(
                f"this peer cannot be called, because no socket can be made at {address} "
                f"({error.strerror}): {hint(error, 'make the folder writable')}"
            ) from error
        with self._lock:
            if not self._is_closed:
                server.start()
                self._server = server
                return server.endpoint
        server.stop()
        raise RendezvousError("this peer has stopped, so it cannot be called")

    def open(self, peer: str, address: Address, caller: NewReceiver, seconds: float) -> Link:
        ctx = self._ctx
        hello = CallHello(PROTOCOL, ctx.participant.name, ctx.id, os.getpid(), peer)
        loop = self._started_loop()
        try:
            channel = dial(address, ctx.place.key(), frame(hello), timeout=max(seconds, 0.001))
        except ChannelLost as error:
            missing = isinstance(error.__cause__, FileNotFoundError)
            raise Unreachable(str(error), is_missing=missing) from error
        pid = ctx.participant.state.members.get(peer, {}).get("pid", 0)
        link = SocketLink(channel, peer, pid, self._max_bytes(), loop)
        link.receiver = caller(link)
        loop.add(link)
        return link

    def close(self) -> None:
        with self._lock:
            self._is_closed, server, loop = True, self._server, self._loop
        if server is not None:
            server.stop()
        if loop is not None:
            loop.stop()

    def _started_loop(self) -> ReadingLoop:
        with self._lock:
            if self._loop is None:
                self._loop = ReadingLoop(self._ctx.platform)
                if self._is_closed:
                    self._loop.stop()
            return self._loop

    def _attach(self, channel: Channel, hello: CallHello) -> None:
        """Take over an authenticated connection (on a handshake's thread)."""
        try:
            self._check(hello)
        except MemSyncError:
            channel.close()
            raise
        link = SocketLink(channel, hello.peer, hello.pid, self._max_bytes(), self._started_loop())
        link.receiver = self._callee(link)
        self._started_loop().add(link)

    def _check(self, hello: CallHello) -> None:
        if hello.protocol != PROTOCOL:
            raise ProtocolError(
                f"a caller speaks protocol {hello.protocol}, this process protocol {PROTOCOL}: use "
                "one version of memsync in all processes"
            )
        check_peer_id(hello.peer)
        if (hello.name, hello.callee) != (self._ctx.participant.name, self._ctx.id):
            raise ProtocolError(f"a call for peer {hello.callee} of {hello.name!r} came here")

    def _max_bytes(self) -> int:
        return self._ctx.participant.writer.max_frame


class MemoryRoad:
    """The road of the engine ``memory``: links inside of the process."""

    def __init__(self, participant: Participant, callee: NewReceiver) -> None:
        self._participant = participant
        self._callee = callee
        self._links: set[CourierLink] = set()
        self._is_closed = False

    def listen(self) -> Address:
        if not self._is_closed:
            _listening[self._participant.id] = self
        return ""

    def open(self, peer: str, address: Address, caller: NewReceiver, seconds: float) -> Link:
        other = _listening.get(peer)
        if other is None:
            raise Unreachable("it has stopped")
        return open_pair(self, other, caller)

    def join(self, link: CourierLink) -> None:
        """Close a link with this road."""
        self._links = {each for each in (*self._links, link) if each.is_open}
        if self._is_closed:
            link.end(STOPPED)

    def close(self) -> None:
        self._is_closed = True
        _listening.pop(self._participant.id, None)
        for link in self._links:
            link.end(STOPPED)


def open_pair(caller: MemoryRoad, callee: MemoryRoad, receiver: NewReceiver) -> Link:
    """Connect two roads of this process."""
    max_bytes = caller._participant.writer.max_frame
    mine, theirs = new_pair(caller._participant.id, callee._participant.id, max_bytes)
    theirs.receiver = callee._callee(theirs)
    mine.receiver = receiver(mine)
    caller.join(mine)
    callee.join(theirs)
    return mine


if "_listening" not in globals():  # `importlib.reload` keeps them
    _listening: dict[str, MemoryRoad] = {}
    os.register_at_fork(after_in_child=_listening.clear)


def new_road(engine: Any, callee: NewReceiver) -> Road:
    """The road of a running engine; `callee` makes the receivers of links that others open."""
    if engine.participant.options.engine == "memory":
        return MemoryRoad(engine.participant, callee)
    return SocketRoad(engine.ctx, callee)
