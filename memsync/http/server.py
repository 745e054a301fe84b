"""The server of one address: a thread with an event loop, which serves or stands by.

If another process serves the address, this one tries four times a second to take it over, so the
URL answers again within a second of that process's death.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from ..clocks import monotonic
from ..errors import OptionsError
from ..options.schema import ServerOptions
from ..runtime import forks, native
from ..runtime.logs import Logger
from ..runtime.own_threads import OwnThread
from .access import Access
from .app import App
from .probe import Found, look_at
from .protocol import BoundedProtocol
from .served import Served, wake
from .sockets import ListeningSocket, Loop, listen

log = Logger("memsync.http")

TAKE_OVER_SECONDS = 0.25  # between two tries to listen
KEEP_ALIVE_SECONDS = 5  # for the next request on a connection
MOMENT = 0.01  # seconds
END_SECONDS = 1.0  # for open answers, when the server ends


class HttpServer(forks.Forkable):
    """Serves the objects of this process at one address. `ports` owns it, under its lock."""

    def __init__(self, options: ServerOptions) -> None:
        assert options.port is not None
        self.options = options
        self.host, self.port = options.host, options.port
        self.pid = os.getpid()
        self.serving = False
        self.other: Found | None = None
        """The server of another process that has the port, as found last."""
        self._objects: dict[str, list[Served]] = {}  # values are replaced, never changed
        self._app = App(self, Access(options), write=options.write)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._is_stopping = False
        self._listener: ListeningSocket | None = None
        self._thread: OwnThread | None = None
        self._starting = native.Mutex()
        forks.track(self)

    # -- the objects (any thread changes them, under the lock of `ports`) -------------------------

    def find(self, name: str) -> Served | None:
        """The object with this name; of several peers the one that began first."""
        served = self._objects.get(name)
        if not served:
            return None
        return next((each for each in served if not each.engine.is_ended), served[0])

    def all(self) -> list[Served]:
        """One object of each name, sorted by the names."""
        return [each for name in sorted(self._objects) if (each := self.find(name)) is not None]

    def connections(self) -> int:
        """How many connections are open."""
        listener = self._listener
        return 0 if listener is None else len(listener.connections)

    def add(self, served: Served) -> None:
        """Serve an object, too."""
        self._objects[served.name] = [*self._objects.get(served.name, []), served]

    def remove(self, served: Served) -> bool:
        """Serve an object no longer, and end its open answers; whether there are others."""
        left = [each for each in self._objects.get(served.name, []) if each is not served]
        if left:
            self._objects[served.name] = left
        else:
            self._objects.pop(served.name, None)
        if self._loop is not None:
            wake(self._loop, served.closing.set)
        return bool(self._objects)

    def url(self, name: str) -> str:
        """The URL of an object."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}/{name}"

    # -- the thread ------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen, or stand by, unless it does; raises `OptionsError` if it can do neither."""
        with self._starting:
            if self._thread is None:
                self._start()

    def _start(self) -> None:
        try:
            self._listen()
        except OSError as error:
            self.other = self._taken(error)
            log.info(
                "another process serves the port: standing by address=%s port=%s pid=%s",
                self.host,
                self.port,
                self.other.pid,
            )
        thread = OwnThread(self._run, "memsync-http")
        try:
            thread.start()
            self._thread = thread
        except RuntimeError as error:
            self._close_listener()
            raise OptionsError(
                f"server.port = {self.port}: the system has no thread left for the HTTP server",
                key="server.port",
            ) from error

    def _listen(self) -> None:
        self._listener = listen(self.host, self.port)
        self.port = self._listener.getsockname()[1]
        self.serving, self.other = True, None

    def _taken(self, error: OSError) -> Found:
        """The server of memsync that has the port; raises `OptionsError` if it is no such."""
        where = f"server.port = {self.port} on {self.host}"
        if error.errno != errno.EADDRINUSE:
            raise OptionsError(
                f"{where}: cannot listen there: {error.strerror or error}",
                key="server.host" if isinstance(error, socket.gaierror) else "server.port",
            ) from error
        found = look_at(self.host, self.port)
        if found is None:
            raise OptionsError(
                f"{where}: another program has the port, which does not answer as memsync does: "
                "choose another port, or 0 for any free one",
                key="server.port",
            ) from error
        return found

    def stop(self, seconds: float) -> None:
        """End the server, within some seconds; open answers have a second of them."""
        self._is_stopping = True
        if self._loop is not None:
            wake(self._loop, self._stopping.set)
        self.join(seconds)

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread, for some seconds."""
        thread = self._thread
        if thread is not None and seconds > 0:
            thread.join(seconds)

    def after_fork(self) -> None:
        """In a forked child: the thread and the sockets are the parent's, nothing is served."""
        self._is_stopping, self.serving = True, False
        self._loop = self._thread = None
        if self._listener is not None:
            self._listener = None  # closed by `forks`

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=Loop) as runner:
                runner.run(self._main())
        except Exception:
            log.exception("the HTTP server has failed address=%s port=%s", self.host, self.port)
        finally:
            self._close_listener()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._is_stopping:
            return
        if self._listener is None:
            await self._stand_by()
        if self._listener is not None:
            await self._serve(self._listener)

    async def _stand_by(self) -> None:
        """Wait until this process listens, or stops."""
        next_look = 0.0
        while not self._stopping.is_set():
            try:
                self._listen()
            except OSError as error:
                if monotonic() >= next_look:
                    next_look = monotonic() + 60
                    log.debug("the port is taken port=%s error=%s", self.port, error)
            else:
                log.info("took over the port address=%s port=%s", self.host, self.port)
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TAKE_OVER_SECONDS):
                    await self._stopping.wait()

    async def _serve(self, listener: ListeningSocket) -> None:
        config = uvicorn.Config(
            self._app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        config.load()
        state = ServerState()

        def new_connection() -> BoundedProtocol:
            return BoundedProtocol(config, state, {})

        loop = asyncio.get_running_loop()
        server = await loop.create_server(new_connection, sock=listener)
        try:
            await self._stopping.wait()
        finally:
            self.serving = False
            # asyncio fails for a connection that it has accepted right before `close`.
            loop.remove_reader(listener)
            await asyncio.sleep(MOMENT)
            server.close()
            await self._end(state)

    async def _end(self, state: ServerState) -> None:
        """Close the connections; those with an open answer have a second to end it."""
        for each in self.all():
            each.closing.set()
        connections: Any = state.connections
        for connection in list(connections):
            connection.shutdown()
        deadline = monotonic() + END_SECONDS
        while connections and monotonic() < deadline:
            await asyncio.sleep(MOMENT)
        for connection in list(connections):
            connection.transport.abort()
        for task in state.tasks:
            task.cancel()
        await asyncio.sleep(MOMENT)  # for both to take effect

    def _close_listener(self) -> None:
        self.serving = False
        if self._listener is not None:
            self._listener.close_all()
            self._listener = None
