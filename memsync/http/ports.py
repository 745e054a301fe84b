"""The servers of this process: one per address, shared by the objects that it serves."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import OptionsError
from ..runtime import native
from ..runtime.forks import importing
from ..runtime.logs import Logger

if TYPE_CHECKING:
    from ..engine import Engine
    from ..options.schema import ServerOptions
    from .served import Served
    from .server import HttpServer

log = Logger("memsync.http")

RESERVED = ("healthz", "readyz", "metrics", "openapi.json", "static")
"""First segments of paths that are no names of objects."""

_END_SECONDS = 2.0  # for an earlier server of the same address to end

Key = tuple[str, int | None]  # host and port, as the options state them

if "_servers" not in globals():  # `importlib.reload` keeps them
    _servers: dict[Key, HttpServer] = {}
    _ending: dict[Key, HttpServer] = {}
    _lock = native.Mutex()  # held for moments


class Serving:
    """That one object is served; for its peer."""

    def __init__(self, key: Key, server: HttpServer, served: Served) -> None:
        self._key = key
        self._server = server
        self._served = served

    def status(self) -> dict[str, Any]:
        """The part ``server`` of `MemSync.get_status`."""
        server = self._server
        return {"url": server.url(self._served.name), "serving": server.serving}

    def close(self, seconds: float) -> None:
        """Serve it no longer; the last object of a server ends it, within some seconds."""
        if _withdraw(self._key, self._server, self._served):
            self._server.stop(seconds)


def check(name: str, options: ServerOptions) -> None:
    """Refuse to serve an object for what is known before its peer starts.

    Raises `OptionsError`: a library is missing, or options contradict each other or those of
    another object at the same address.
    """
    if native.LIBRARY:
        raise OptionsError(
            f"server.port cannot be used in a process that {native.LIBRARY} has patched: serve the "
            "object from another process",
            key="server.port",
        )
    if name in RESERVED:
        raise OptionsError(
            f"an object with the name {name!r} cannot be served: the server has a route /{name}",
            key="server.port",
        )
    try:
        with importing:
            from .access import check_options
            from .server import HttpServer  # noqa: F401  # `serve` imports it
    except ImportError as error:
        raise OptionsError(
            f"server.port needs {error.name}: pip install 'memsync[server]'", key="server.port"
        ) from error
    check_options(options)
    _check_others(name, options)


def _check_others(name: str, options: ServerOptions) -> None:
    """Raise `OptionsError` where another object of this process has the port in another way."""
    from .sockets import overlap

    key = options.host, options.port
    for known, other in list(_servers.items()):
        if known != key and options.port == other.port != 0 and overlap(other.host, options.host):
            raise OptionsError(
                f"server.port = {options.port} on {options.host} is that of another object of this "
                f"process, which states server.host = {known[0]!r} and server.port = {known[1]}: "
                f"state the same, so that {name!r} is served, too",
                key="server.port",
            )
    _check_rules(name, options, _servers.get(key))


def _check_rules(name: str, options: ServerOptions, server: HttpServer | None) -> None:
    """Raise `OptionsError` where the server of an address has other rules."""
    if server is not None and server.options != options:
        raise OptionsError(
            f"server.token, server.write and server.allowedHosts of {name!r} differ from those "
            f"of another object of this process at port {options.port}: use one set of them "
            "per port",
            key="server.port",
        )


def serve(engine: Engine, describe: Callable[[], dict[str, Any]]) -> Serving:
    """Serve the object of an engine at the address that its options name; see `check`.

    Raises `OptionsError`, also where another program has the port.
    """
    from .access import is_open
    from .served import Served
    from .server import HttpServer

    participant = engine.participant
    options, name = participant.options.server, participant.name
    if is_open(options):
        log.warning(
            "everyone who reaches the port can read the object, state a server.token name=%s "
            "address=%s port=%s",
            name,
            options.host,
            options.port,
        )
    _check_others(name, options)  # it may have begun since `check`
    key = options.host, options.port
    served = Served(name, engine, describe, writes=options.write)
    with _lock:
        server, ending = _servers.get(key), _ending.pop(key, None)
        if server is None:
            server = _servers[key] = HttpServer(options)
        _check_rules(name, options, server)
        server.add(served)
    try:
        if ending is not None:
            ending.join(_END_SECONDS)
        server.start()
    except BaseException:
        if _withdraw(key, server, served):
            server.stop(0)
        raise
    return Serving(key, server, served)


def _withdraw(key: Key, server: HttpServer, served: Served) -> bool:
    """Serve an object no longer; whether its server has no other one, and is to end."""
    with _lock:
        if server.remove(served):
            return False
        if _servers.get(key) is server:
            del _servers[key]
            _ending[key] = server
        return True


def _after_fork() -> None:
    """In a forked child: the servers are the parent's."""
    global _lock
    _servers.clear()
    _ending.clear()
    _lock = native.Mutex()


os.register_at_fork(after_in_child=_after_fork)
