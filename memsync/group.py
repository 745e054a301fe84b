"""The group, as a handle sees it: the other members, its own status, round trips and events."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, overload

from .errors import UsageError
from .lifecycle import Lifecycle
from .runtime.callbacks import check_callback
from .runtime.dispatcher import EVENTS, Subscription
from .runtime.own_threads import refuse_waiting
from .status import other_members, status_of

if TYPE_CHECKING:
    from .errors import MemSyncError
    from .events import Events
    from .presence import PeerPresence


class GroupMember(Lifecycle):
    """The part of a handle that knows its group."""

    __slots__ = ()

    @property
    def peers(self) -> list[dict[str, Any]]:
        """The other members: ``{"id", "pid", "roles", "methods", "host"}`` each."""
        return other_members(self._started().participant)

    def has_peers(self) -> bool:
        """Whether the group has other members."""
        return bool(self.peers)

    def get_status(self) -> dict[str, Any]:
        """The status of this peer, as a dict; never blocks and never raises.

        * ``status``: ``"host"``, ``"client"``, ``"starting"`` (looking for a host, the first one or
          the next) or ``"stopped"``
        * ``since``: the start of this status, in seconds since 1970
        * ``reason``: why the last role ended, or why there is no host; or None
        * ``id``, ``epoch``, ``version``: as the properties
        * ``pending``: the number of own writes without an outcome
        * ``peers``: the number of other members
        * ``host``: None, or a dict: ``id``, ``pid`` and ``address``, the number of its
          ``connections``, and ``since``, the start of its epoch
        * ``handing_over``: this peer has stopped ordering, because another peer becomes host
        * ``storage``: None without a file, or a dict: ``url``, and on the host, or where the last
          peer of the group has stopped, ``saved_version``, ``saved_at`` (seconds since 1970),
          ``error`` (why the object is not saved at the moment, or None), and ``fencing``
          (``"lock"``, ``"conditional"`` or ``"none"``; docs/storage.md)
        * ``server``: None without ``server.port``, or a dict: the ``url`` of the object, and if
          this process is ``serving`` it, or stands by (docs/http.md)

        >>> from memsync import MemSync
        >>> MemSync("idle", engine="memory").get_status()["status"]
        'stopped'
        """
        peer = self._peer
        engine = peer.joining or self._engine or peer.engine_of(self._use)
        return status_of(engine, peer.serving)

    def ping(self, timeout: float | None = None) -> dict[str, Any]:
        """Round trips in seconds: to the host, or on the host to each client.

        Returns ``{"connection", "host": {"time"}}``, on the host also ``"clients"``, a list of
        ``{"id", "time"}`` with None for a client that did not answer. Raises
        `HostUnresponsiveError` if the host does not answer within `timeout` seconds.

        >>> from memsync import MemSync
        >>> with MemSync("idle", engine="memory") as mem:
        ...     mem.ping(timeout=5)
        {'connection': 'host', 'host': {'time': 0.0}, 'clients': []}
        """
        refuse_waiting("ping()")
        return self._running().ping(self._seconds(timeout))

    def flush(self, timeout: float | None = None) -> None:
        """Return when the object, as it is now, is in its file (docs/storage.md).

        A client asks the host. `timeout` is in seconds. Raises `StorageError` if the host cannot
        save or does not answer in time, and `UsageError` if the object has no file.

        >>> import json, os, tempfile
        >>> from memsync import MemSync
        >>> path = os.path.join(tempfile.mkdtemp(), "state.json")
        >>> with MemSync("kept", {"n": 0}, {"file": {"path": path}}, engine="memory") as mem:
        ...     _ = mem.patch({"$inc": {"n": 1}})
        ...     mem.flush()
        ...     with open(path) as file:
        ...         json.load(file)["data"]
        {'n': 1}
        """
        refuse_waiting("flush()")
        self._running().flush(self._seconds(timeout))

    @overload
    def on(
        self, name: Literal["connected"], callback: Callable[[Literal["host", "client"]], object]
    ) -> Subscription: ...
    @overload
    def on(
        self, name: Literal["disconnected"], callback: Callable[[str], object]
    ) -> Subscription: ...
    @overload
    def on(
        self, name: Literal["received_patches"], callback: Callable[[list[dict[str, Any]]], object]
    ) -> Subscription: ...
    @overload
    def on(
        self, name: Literal["host_changed"], callback: Callable[[dict[str, Any]], object]
    ) -> Subscription: ...
    @overload
    def on(
        self, name: Literal["rolled_back"], callback: Callable[[MemSyncError], object]
    ) -> Subscription: ...
    @overload
    def on(self, name: Literal["gap"], callback: Callable[[int], object]) -> Subscription: ...
    def on(self, name: str, callback: Callable[..., Any]) -> Subscription:
        """Call `callback` for each event, on the dispatcher thread; returns a `Subscription`.

        The events, with the arguments of the callback:

        * ``connected(role)`` and ``disconnected(reason)``: this peer has found or lost a role
        * ``received_patches([{version, epoch, peer, patch}])``: entries changed the object
        * ``host_changed({old, new, epoch})``: another peer is host
        * ``rolled_back(error)``: a visible write of this peer was refused or lost
        * ``gap(count)``: callbacks were too slow, and `count` of their calls, or `count` events,
          were dropped; or this peer caught up by a snapshot, and missed `count` events

        Raises `UsageError` for an unknown event.

        >>> from memsync import MemSync
        >>> with MemSync("chat", {"n": 0}, engine="memory") as mem:
        ...     with mem.on("received_patches", lambda patches: print(patches[0]["patch"])):
        ...         _ = mem.patch({"$set": {"n": 1}})
        [{'op': 'replace', 'path': '/n', 'value': 1}]
        """
        from .runtime.detached import Detached

        if name not in EVENTS:
            raise UsageError(f"unknown event {name!r}: choose one of {', '.join(EVENTS)}")
        check_callback(f"the callback of {name!r}", callback)
        return self._registered(self._dispatcher.on(name, Detached(callback)))

    @property
    def events(self) -> Events:
        """Named events that every peer gets, once and in one order; see `Events`."""
        from .events import Events

        return Events(self)

    @property
    def presence(self) -> PeerPresence:
        """Fields that each peer states about itself, and that vanish with it (`PeerPresence`)."""
        from .presence import PeerPresence

        return PeerPresence(self)

    def __repr__(self) -> str:
        status = self.get_status()
        return f"<MemSync {self.name!r} {status['status']} version={status['version']}>"
