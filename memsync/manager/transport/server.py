"""The host's side of the stdlib manager: listening, handshakes, proxies, and `attach`.

The stdlib server's authentication, registry and proxy protocol stay in use. Replaced are its accept
loop (it cannot be stopped, and spins when its listener is closed), its check of public methods (an
``assert``, gone under ``python -O``) and `serve_forever` (it ends the process it runs in). The data
plane is one more public method: `attach` takes the authenticated connection over for good.

A connection has a thread of its own while it shakes hands and, if it belongs to a proxy, for as
long as the proxy uses it. An attached connection needs none: the host's one selector thread serves
it. A handshake is bounded as a whole, because the socket's time-out begins again with each byte;
`handshakes` bounds how many there are at a time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import AuthenticationError, managers
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any, ClassVar

from ...errors import MemSyncError, ProtocolError, UsageError
from ...replication.codec import HEADER
from ...runtime import forks
from ..folder.records import Address
from ..platform.descriptors import hint
from ..timing import TIMING
from .channel import Channel
from .dial import set_deadline, to_channel
from .handshakes import Handshakes, shut_down
from .messages import Hello, parse

log = logging.getLogger("memsync.server")


@dataclass(frozen=True)
class ServerConfig:
    """What a server needs to know of the peer it serves for."""

    document: object
    authkey: Callable[[], bytes]  # asked for each handshake
    attach: Callable[[Channel, Hello], None]
    max_handshakes: int
    handshake_timeout: float
    proxies: bool


class _Refusals:
    """Tells of connections that were refused: in few lines, however many a stranger makes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._untold = 0  # since the last line
        self._next_line = 0.0  # monotonic seconds

    def tell(self, level: int, how: str, why: object, *, trace: bool = False) -> None:
        """One more was refused; `trace` adds where the error that is handled came from."""
        now = time.monotonic()
        with self._lock:
            is_due, more = now >= self._next_line, self._untold
            self._next_line = now + TIMING.refusal_lines if is_due else self._next_line
            self._untold = 0 if is_due else more + 1
        level = level if is_due else logging.DEBUG
        others = f", and {more} more since the last such line" if is_due and more else ""
        log.log(level, "a connection was refused%s: %s%s", how, why, others, exc_info=trace)


class MemSyncServer(managers.Server):
    """The stdlib's server with an accept loop that ends, and the `attach` method."""

    public: ClassVar[list[str]] = [  # type: ignore[misc]  # typeshed: an instance variable
        "create",
        "accept_connection",
        "get_methods",
        "dummy",
        "incref",
        "decref",
        "attach",
    ]
    listener: Any  # set by the base class; typeshed does not know them

    def __init__(
        self,
        registry: dict[str, Any],
        address: Any,
        authkey: bytes,
        serializer: str,
        config: ServerConfig,
    ) -> None:
        _, *registration = registry["document"]
        registry = {"document": (lambda: config.document, *registration)}
        with forks.opening:
            super().__init__(registry, address, authkey, serializer)
            # The stdlib offers no other way to the listening socket.
            self._socket: socket.socket = self.listener._listener._socket
            forks.register(self, self._socket.close)
        self.endpoint: Address = self.listener.address
        self._socket.listen(TIMING.backlog)
        self._socket.setblocking(False)
        self.stop_event = threading.Event()
        self._config = config
        self._refusals = _Refusals()
        self._handshakes = Handshakes(config.max_handshakes)
        self._is_short = False  # of descriptors or threads: that is logged once
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._accepter = threading.Thread(
            target=self._accept_loop, name="memsync-accept", daemon=True
        )

    def start(self) -> None:
        """Accept connections, on a thread of its own."""
        self._accepter.start()

    def stop(self) -> None:
        """Stop listening and cut the proxies' connections; attached ones belong to the host."""
        self.stop_event.set()
        with contextlib.suppress(OSError):  # some systems refuse it; the loop's poll ends it then
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._accepter.is_alive():
            self._accepter.join(timeout=TIMING.thread_stop)
        forks.release(self)
        try:
            with contextlib.suppress(FileNotFoundError):  # a successor has cleaned up already
                self.listener.close()  # removes the socket's path as well
        except OSError as error:
            log.warning("the socket %s could not be removed: %s", self.endpoint, error)
        with self._lock:
            for connection in self._connections:
                shut_down(connection)

    def attach(self, connection: Connection, data: bytes) -> None:
        """Take the connection over for the data plane; there is no reply in the stdlib's form."""
        hello = parse(data[HEADER:])
        if not isinstance(hello, Hello):
            raise ProtocolError("a connection must open with Hello")
        self._forget(connection)
        channel = to_channel(connection)
        self._config.attach(channel, hello)

    def shutdown(self, c: Any) -> None:
        """Not for strangers: a peer stops with its own process only."""
        raise UsageError("a memsync host cannot be shut down from outside")

    # -- accepting -------------------------------------------------------------------------------

    def _accept_loop(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        patience = self._config.handshake_timeout
        while not self.stop_event.is_set():
            self._handshakes.cut_off(patience)
            if not poll.poll(TIMING.accept_poll * 1000) or self.stop_event.is_set():
                continue
            try:
                connection = self._accept()
                self._is_short = False
                self._begin(connection)
            except OSError as error:
                self._pause_after(error)

    def _accept(self) -> Connection:
        with forks.opening:
            sock, _ = self._socket.accept()
            sock.setblocking(True)
            set_deadline(sock, self._config.handshake_timeout)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(sock.detach())
            forks.register(connection, connection.close)
        with self._lock:
            self._connections.add(connection)
        return connection

    def _begin(self, connection: Connection) -> None:
        """Have a thread of its own shake hands on a connection, if there is a place for it."""
        if not self._handshakes.begin(connection):
            self._drop(connection)
            self._refusals.tell(logging.INFO, "", "all places for handshakes are taken")
            self.stop_event.wait(TIMING.crowded_pause)
            return
        thread = threading.Thread(
            target=self._serve, args=(connection,), name="memsync-handshake", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # no more threads to be had: the others are served on
            self._handshakes.end(connection)
            self._drop(connection)
            self._pause_after(error)

    def _pause_after(self, error: Exception) -> None:
        if self.stop_event.is_set() or isinstance(error, BlockingIOError):
            return
        level = logging.DEBUG if self._is_short else logging.WARNING
        self._is_short = True
        advice = hint(error, "it is tried again") if isinstance(error, OSError) else ""
        log.log(level, "a connection could not be accepted: %s: %s", error, advice)
        self.stop_event.wait(TIMING.accept_pause)

    # -- one connection --------------------------------------------------------------------------

    def _serve(self, connection: Connection) -> None:
        try:
            try:
                method, args, kwds = self._shake_hands(connection)
            finally:
                self._handshakes.end(connection)
            method(connection, *args, **kwds)
        except SystemExit:
            pass  # serve_client's way to say that its proxy has gone
        except (AuthenticationError, OSError, EOFError) as error:
            self._refusals.tell(logging.INFO, " or broke off", str(error) or "end of file")
        except MemSyncError as error:
            self._refusals.tell(logging.WARNING, "", error)
        except Exception as error:  # whatever a stranger with the key sends, the host goes on
            what = f"{type(error).__name__}: {error}"
            self._refusals.tell(logging.WARNING, ", for what it sent", what, trace=True)
        finally:
            self._drop(connection)

    def _shake_hands(self, connection: Connection) -> tuple[Callable[..., None], Any, Any]:
        key = self._config.authkey()
        deliver_challenge(connection, key)
        answer_challenge(connection, key)
        _, name, args, kwds = connection.recv()
        if name not in self.public:
            raise ProtocolError(f"{name!r} is no public method of a memsync host")
        if name == "attach":
            return self.attach, args, kwds
        if not self._config.proxies and name != "dummy":  # which asks whether anybody is there
            raise ProtocolError(f"{name!r} was called, but manager.proxies is off")
        _unbound(connection)
        return self._answer(name), args, kwds

    def _answer(self, name: str) -> Callable[..., None]:
        method = getattr(self, name)

        def call(connection: Connection, *args: Any, **kwds: Any) -> None:
            try:
                message = ("#RETURN", method(connection, *args, **kwds))
            except Exception as error:
                message = ("#TRACEBACK", f"{type(error).__name__}: {error}")
            if not self.stop_event.is_set():
                connection.send(message)

        return call

    def _drop(self, connection: Connection) -> None:
        self._forget(connection)
        if not connection.closed:
            forks.release(connection)
            connection.close()

    def _forget(self, connection: Connection) -> None:
        with self._lock:
            self._connections.discard(connection)


def _unbound(connection: Connection) -> None:
    """A proxy may be silent for as long as it likes."""
    sock = socket.socket(fileno=os.dup(connection.fileno()))
    with sock:
        set_deadline(sock, 0)
