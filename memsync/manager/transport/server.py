"""The server side of the stdlib manager: listening, handshakes, proxies, and `attach`.

The stdlib server's authentication, registry and proxy protocol stay in use. Three parts are
replaced: the accept loop, which cannot be stopped and spins when its listener is closed; the check
of public methods, an ``assert`` that ``python -O`` removes; and `serve_forever`, which ends the
process. The data plane is one more public method: `attach` keeps the authenticated connection.

A connection has its own thread during its handshake and, if it belongs to a proxy, for as long as
the proxy uses it. The selector of the host's thread serves attached connections. A handshake has
one deadline as a whole, because the socket's timeout begins again with each byte. `handshakes`
bounds the number of concurrent handshakes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import sys
from collections.abc import Callable
from multiprocessing import AuthenticationError, managers
from multiprocessing.connection import answer_challenge, deliver_challenge
from typing import Any, ClassVar, NamedTuple

from ...clocks import monotonic
from ...errors import MemSyncError, ProtocolError, UsageError
from ...replication.codec import HEADER
from ...runtime import forks
from ...runtime.logs import Logger
from ...runtime.native import Event, Lock
from ...runtime.own_threads import OwnThread
from ..folder.records import Address
from ..platform import sockets
from ..platform.descriptors import hint
from ..platform.sockets import Connection
from ..platform.threads import start_thread
from ..timing import TIMING
from .channel import Channel
from .dial import set_deadline, set_up, to_channel
from .handshakes import Handshakes, shut_down
from .messages import CallHello, Hello, parse

log = Logger("memsync.server")

# Whether a poll of a listening socket ends when the socket is shut down.
_STOP_WAKES = sys.platform == "linux"


class ServerConfig(NamedTuple):
    """What a server needs from its peer."""

    document: object
    authkey: Callable[[], bytes]  # called for each handshake
    attach: Callable[[Channel, Any], None]  # with the message that opens a connection
    max_handshakes: int
    handshake_timeout: float
    proxies: bool
    opening: type[Hello | CallHello] = Hello
    describe: Callable[[], Any] = lambda: None  # the answer to the stdlib's ping
    inspect: Callable[[Any], bytes] = lambda question: b""  # see `host.inspection`


class _Refusals:
    """Logs refused connections, with few lines however many a stranger makes."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._unlogged = 0  # since the last line
        self._next_line = 0.0  # monotonic seconds

    def log(self, level: int, why: object, *, trace: bool = False) -> None:
        """Log one more refusal; `trace` adds the traceback of the error that is handled."""
        now = monotonic()
        with self._lock:
            is_due, more = now >= self._next_line, self._unlogged
            self._next_line = now + TIMING.refusal_lines if is_due else self._next_line
            self._unlogged = 0 if is_due else more + 1
        level = level if is_due else logging.DEBUG
        others = f", and {more} more since the last such line" if is_due and more else ""
        log.log(level, "connection refused: %s%s", why, others, exc_info=trace)


class MemSyncServer(managers.Server):
    """The stdlib's server with an accept loop that can be stopped, and the `attach` method."""

    public: ClassVar[list[str]] = [  # type: ignore[misc]  # typeshed: an instance variable
        "create",
        "accept_connection",
        "get_methods",
        "dummy",
        "incref",
        "decref",
        "attach",
        "inspect",
    ]
    listener: Any  # set by the base class; typeshed does not know it

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
        with forks.opening, sockets.listeners():
            super().__init__(registry, address, authkey, serializer)
            # The stdlib has no public access to the listening socket.
            self._socket: socket.socket = self.listener._listener._socket
            forks.register(self, self._socket.close)
        self.mutex = Lock()
        self.endpoint: Address = self.listener.address
        self._socket.listen(TIMING.backlog)
        self._socket.setblocking(False)
        self.stop_event = Event()
        self._config = config
        self._refusals = _Refusals()
        self._handshakes = Handshakes(config.max_handshakes)
        self._has_failed = False  # a run of failed accepts is logged once
        self._lock = Lock()
        self._connections: set[Connection] = set()
        self._accepter = OwnThread(self._accept_loop, "memsync-accept")

    def start(self) -> None:
        """Accept connections on a new thread; raises `RendezvousError` where there is none left."""
        start_thread(self._accepter)

    def stop(self) -> None:
        """Stop listening and cut the proxies' connections; the host closes attached ones."""
        self.stop_event.set()
        with contextlib.suppress(OSError):  # if refused, the loop ends at its next poll
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._accepter.is_alive():
            self._accepter.join(timeout=TIMING.thread_stop)
        forks.release(self)
        try:
            with contextlib.suppress(FileNotFoundError):  # a successor has removed it already
                self.listener.close()  # also removes the socket's path
        except OSError as error:
            log.warning("cannot remove the socket %s: %s", self.endpoint, error)
        with self._lock:
            for connection in self._connections:
                shut_down(connection)

    def attach(self, connection: Connection, data: bytes) -> None:
        """Turn the connection into a channel of the data plane; the stdlib's reply is not sent."""
        hello = parse(data[HEADER:])
        if not isinstance(hello, self._config.opening):
            raise ProtocolError(f"a connection must open with {self._config.opening.__name__}")
        self._forget(connection)
        channel = to_channel(connection)
        self._config.attach(channel, hello)

    def shutdown(self, c: Any) -> None:
        """Refused: only its own process stops a peer."""
        raise UsageError("a memsync host cannot be shut down from outside: stop its MemSync handle")

    # -- accepting -------------------------------------------------------------------------------

    def _accept_loop(self) -> None:
        poll = sockets.poll()
        poll.register(self._socket, select.POLLIN)
        patience = self._config.handshake_timeout
        while not self.stop_event.is_set():
            is_idle = not self._handshakes.cut_off(patience) and _STOP_WAKES
            seconds = TIMING.accept_idle if is_idle else TIMING.accept_poll
            if not poll.poll(seconds * 1000) or self.stop_event.is_set():
                continue
            try:
                connection = self._accept()
                self._has_failed = False
                self._begin(connection)
            except OSError as error:
                self._pause_after(error)

    def _accept(self) -> Connection:
        with forks.opening:
            sock = sockets.accept(self._socket)
            sock.setblocking(True)
            set_up(sock, self._config.handshake_timeout)
            connection = Connection(sock.detach())
            forks.register(connection, connection.close)
        with self._lock:
            self._connections.add(connection)
        return connection

    def _begin(self, connection: Connection) -> None:
        """Start the handshake of a connection on a new thread, if there is a slot for it.

        It runs on this one when Python has begun to end the program and starts no more threads
        (3.12): the program may wait for worker processes that still have to join.
        """
        if not self._handshakes.begin(connection):
            self._drop(connection)
            self._refusals.log(logging.INFO, "all handshake slots are taken")
            self.stop_event.wait(TIMING.crowded_pause)
            return
        thread = OwnThread(self._serve, "memsync-handshake", (connection,))
        try:
            thread.start()
        except RuntimeError as error:
            if "shutdown" in str(error):
                self._serve(connection, only_peers=True)
                return
            self._handshakes.end(connection)  # no thread is left
            self._drop(connection)
            self._pause_after(error)

    def _pause_after(self, error: Exception) -> None:
        if self.stop_event.is_set() or isinstance(error, BlockingIOError):
            return
        level = logging.DEBUG if self._has_failed else logging.WARNING
        self._has_failed = True
        retry = "memsync tries again"
        advice = hint(error, retry) if isinstance(error, OSError) else retry
        log.log(level, "a connection could not be accepted: %s: %s", error, advice)
        self.stop_event.wait(TIMING.accept_pause)

    # -- one connection --------------------------------------------------------------------------

    def _serve(self, connection: Connection, only_peers: bool = False) -> None:
        """The handshake, and the calls of a proxy, which may last; unless `only_peers`."""
        try:
            method, args, kwds = self._shake_hands(connection)
            self._handshakes.end(connection)
            if only_peers and method != self.attach:
                raise ProtocolError("this process ends and serves no more proxies")
            method(connection, *args, **kwds)
        except SystemExit:
            pass  # serve_client raises it when its proxy has gone
        except (AuthenticationError, OSError, EOFError) as error:
            self._refusals.log(logging.INFO, str(error) or "end of file")
        except MemSyncError as error:
            self._refusals.log(logging.WARNING, error)
        except Exception as error:  # the host goes on, whatever a stranger with the key sends
            self._refusals.log(logging.WARNING, f"{type(error).__name__}: {error}", trace=True)
        finally:
            self._drop(connection)
            self._handshakes.end(connection)  # last, so that the places bound the threads

    def _shake_hands(self, connection: Connection) -> tuple[Callable[..., None], Any, Any]:
        key = self._config.authkey()
        deliver_challenge(connection, key)
        answer_challenge(connection, key)
        _, name, args, kwds = connection.recv()
        if name not in self.public:
            raise ProtocolError(f"{name!r} is not a public method of a memsync host")
        if name == "attach":
            return self.attach, args, kwds
        if not self._config.proxies and name not in ("dummy", "inspect"):  # dummy is a ping
            raise ProtocolError(f"{name!r} was called, but the option manager.proxies is false")
        with sockets.socket(fileno=os.dup(connection.fileno())) as sock:
            set_deadline(sock, 0)  # a proxy may be silent for any time
        return self._answer(name), args, kwds

    def dummy(self, c: Connection) -> Any:
        """The stdlib's ping, which ignores what it gets."""
        return self._config.describe()

    def inspect(self, c: Connection, question: Any) -> bytes:
        """Answer a process that does not join."""
        return self._config.inspect(question)

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
