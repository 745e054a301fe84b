"""`MemSync`: a handle on one shared object, and this process's membership in its group."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from multiprocessing import util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .dispatcher import Dispatcher, Subscription
from .document import normalize
from .edits import Edit, Editor, Send
from .errors import (
    HostUnresponsiveError,
    NotStartedError,
    OptionsError,
    UsageError,
    WriteTimeoutError,
)
from .manager import forks
from .manager.host import Host
from .manager.link import Link
from .manager.machine import Machine
from .manager.names import root_folder
from .manager.node import Node, Role
from .manager.pending_write import Call
from .options import check_name, check_timeout, load_options, read_config, stated, unavailable
from .waiting import Changes, wait_for

TState = TypeVar("TState")
TResult = TypeVar("TResult")

EVENTS = (
    "connected",
    "disconnected",
    "received_patches",
    "host_changed",
    "rolled_back",
    "gap",
)
_NEVER_STARTED = {
    "status": "stopped",
    "id": None,
    "epoch": 0,
    "version": 0,
    "pending": 0,
    "peers": 0,
    "host": None,
    "since": None,
    "reason": None,
    "handing_over": False,
}
_LAST_TRY = 0.1  # seconds
_EXIT_PATIENCE = 2.0  # seconds a process takes at most to leave the group when it ends

_nodes: set[Node] = set()  # those which this process must take out of their groups when it ends
_registered_in = 0  # the process in which that is arranged


class _DataBeforeStart:
    """What ``mem.data`` finds while the handle holds none: it joins, or says what to call.

    Without a ``__set__`` it is shadowed by the handle's own entry, so that reading costs no call.
    """

    def __get__(self, handle: Any, owner: Any = None) -> Any:
        if handle is None:
            return self
        handle._live()
        return handle.__dict__["data"]


class MemSync(Generic[TState], forks.Forkable):
    """One JSON-like object shared by processes; each holds a live copy.

    `name` is the object's name: 1 to 300 characters of ``[A-Za-z0-9._-]``. `data` is what the
    object holds when this peer founds it; where it exists already, `data` is not used. `options`
    are those of `memsync.options`; arguments win over the environment, and that over YAML.

    Raises `UsageError`, `OptionsError` or `NotSerializableError` for arguments that cannot be used.

    >>> from memsync import MemSync
    >>> with MemSync("doctest_peer", {"n": 0}) as mem:
    ...     version = mem.patch({"$inc": {"n": 2}})
    ...     mem.data["n"]
    2
    """

    if TYPE_CHECKING:
        data: TState
    else:
        data = _DataBeforeStart()  # start() puts the live document in front of it

    def __init__(
        self,
        name: str,
        data: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        rpc: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self._setup(name, data, options, rpc=rpc)

    def _setup(
        self,
        name: str,
        data: Mapping[str, Any] | None,
        options: Mapping[str, Any] | None,
        *,
        rpc: Mapping[str, Callable[..., Any]] | None = None,
        yaml_options: Mapping[str, Any] | None = None,
        source: str | None = None,
    ) -> None:
        self.name = check_name(name)
        if data is not None and not isinstance(data, dict):
            raise UsageError(f"data must be a dict, not {type(data).__name__}")
        if rpc:
            raise OptionsError("rpc is not available in this version of memsync")
        self._founding: dict[str, Any] = normalize(data or {})
        self._options = load_options(options, yaml_options=yaml_options, source=source)
        self._root = root_folder()
        self._joins_at_use = False
        self._reset()
        forks.watch(self)

    def _reset(self) -> None:
        self._node: Node | None = None
        self._joining: Node | None = None  # while start() is under way
        self._starting = threading.Lock()
        self._dispatcher = Dispatcher()
        self._editor = Editor()
        self.__dict__.pop("data", None)

    @classmethod
    def from_config(
        cls,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        data: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        rpc: Mapping[str, Callable[..., Any]] | None = None,
    ) -> MemSync[Any]:
        """A handle as a YAML file describes it (keys: name, data, options); arguments win.

        Raises `OptionsError` naming the file and the place for a file that cannot be used.
        """
        config = read_config(path)
        handle = cls.__new__(cls)
        chosen = name if name is not None else config.name
        if chosen is None:
            raise OptionsError(f"{config.source}: 'name' is missing, and no name was given")
        handle._setup(
            chosen,
            data if data is not None else config.data,
            options,
            rpc=rpc,
            yaml_options=config.options,
            source=config.source,
        )
        return handle

    # -- taking part -----------------------------------------------------------------------------

    def start(self) -> str:
        """Join the group, or found it; returns ``"host"`` or ``"client"``. Idempotent.

        Raises `RendezvousError`, `AuthenticationFailedError`, `ProtocolError`, `MaxWritersError`,
        `HostUnresponsiveError` (after the option ``timeout``, in seconds) and `OptionsError`. A
        start that failed leaves nothing behind and may be repeated.
        """
        with self._starting:
            node = self._node
            if node is not None and not node.stopping:
                return self._role_of(node, node.role)
            missing = unavailable(self._options)
            if missing:
                raise OptionsError(
                    f"not available in this version of memsync: {', '.join(missing)}"
                )
            self._dispatcher.open()
            node = Node(
                self.name,
                self._root,
                self._founding,
                self._options,
                self._dispatcher.announce,
                Machine(),
            )
            self._joining = node
            try:
                role = node.start(self._options.timeout)
                self._node = node
            finally:
                self._joining = None
            self.__dict__["data"] = node.replica.live
            _leave_at_exit(node)
            return role

    def stop(self) -> None:
        """Leave the group; what is on its way is sent first. Idempotent.

        The last state stays readable. A later `start` joins as a new peer.
        """
        with self._starting:
            node = self._node
            if node is None:
                return
            node.stop()
            _nodes.discard(node)
            self._dispatcher.stop(timeout=1)

    def __enter__(self) -> MemSync[TState]:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # -- reading ---------------------------------------------------------------------------------

    def snapshot(self, path: str | None = None) -> Any:
        """A detached plain copy, consistent at one version.

        With a dotted `path` the value there, or None where there is none.
        """
        return self._known().document_proxy.get(path)

    @property
    def version(self) -> int:
        """The confirmed version; with `epoch` it never goes back."""
        return self._known().replica.shown[1]

    @property
    def epoch(self) -> int:
        """The number of the reign to which `version` belongs."""
        return self._known().replica.shown[0]

    @property
    def id(self) -> str:
        """This peer's id: random, never reused."""
        return self._known().id

    # -- writing ---------------------------------------------------------------------------------

    def patch(
        self,
        update: Any,
        *,
        where: Mapping[str, Any] | None = None,
        array_filters: list[Any] | None = None,
        w: int | str = 1,
        journal: bool = False,
        timeout: float | None = None,
    ) -> int:
        """Write, and wait until it is acknowledged; returns the version from which on it counts.

        `update` are MongoDB update operators
        (https://www.mongodb.com/docs/manual/reference/operator/update/), a list of RFC 6902
        operations or a ``jsonpatch.JsonPatch``. It shows in ``mem.data`` at once. With `where`, a
        MongoDB query, it is applied only if that matches the host's state. `w` says in how many
        members it must be before it counts as acknowledged: 1 (the host and this peer), a number,
        ``"majority"`` or ``"all"`` of the members at the time it is ordered; with `journal` also on
        disk. `timeout` is in seconds (default: the option). An update that changes nothing returns
        the current version.

        Raises `UpdateError` or `NotSerializableError` for an update that cannot be applied,
        `ConditionError` when `where` does not match, `ConflictError` when it loses against a write
        of another peer that this one had not seen (docs/conflicts.md), `ReadOnlyError`,
        `UsageError`, `TooLargeError`, `QueueFullError` (nothing has changed then),
        `WriteTimeoutError` (outcome unknown: it may still be applied) and `WriteConcernError`
        (applied, but not in as many members as `w` wants).

        >>> from memsync import MemSync
        >>> with MemSync("doctest_patch", {"job": {"state": "free"}}) as mem:
        ...     _ = mem.patch({"$set": {"job.state": "mine"}}, where={"job.state": "free"})
        ...     mem.snapshot("job.state")
        'mine'
        """
        seconds = self._seconds(timeout)
        call = Call(where, array_filters, w, journal, time.monotonic() + seconds)
        return self._live().own.patch(update, call, seconds)

    def submit(
        self,
        update: Any,
        *,
        where: Mapping[str, Any] | None = None,
        array_filters: list[Any] | None = None,
        w: int | str = 1,
        journal: bool = False,
        timeout: float | None = None,
    ) -> Future[int]:
        """`patch` without waiting: a future of the version, or of the error.

        The writes of all threads, submitted or not, have one order. Blocks while ``network.window``
        writes are in flight, at most `timeout` seconds; then `QueueFullError`. Errors that can be
        judged here are raised at once. A write concern is waited for as long as `timeout`, the
        outcome itself for as long as it takes. Callbacks added to the future run on the dispatcher
        thread.
        """
        call = Call(where, array_filters, w, journal, time.monotonic() + self._seconds(timeout))
        future = _WriteFuture(self._dispatcher)
        self._live().own.submit(update, call, future)
        return future

    def edit(self, timeout: float | None = None) -> Edit:
        """A plain editable draft; at the end of the block what was changed is sent as one patch.

        The patch is guarded by a test of every old value that was read or changed. When another
        peer changed one of them meanwhile, leaving the block raises `ConflictError` (``path``,
        ``value``): nothing was changed. An exception inside the block sends nothing. A draft within
        a draft of the same object is refused with `UsageError`. Raises what `patch` raises;
        `timeout`, in seconds, counts from the end of the block.

        >>> from memsync import MemSync
        >>> with MemSync("doctest_edit", {"cart": {"n": 1}}) as mem:
        ...     with mem.edit() as draft:
        ...         draft["cart"]["n"] += 1
        ...     mem.snapshot("cart.n")
        2
        """
        seconds = self._seconds(timeout)
        send: Send = functools.partial(self.patch, timeout=seconds)
        return self._editor.edit(self._live().replica.live, send)

    def transact(self, function: Callable[[Any], TResult], timeout: float | None = None) -> TResult:
        """`edit` with ``function(draft)``, repeated until it goes through; returns its result.

        The function may run several times, so it should do nothing but read and change the draft.
        This is the way to claim a job. After `timeout` seconds the last `ConflictError` is raised,
        and what `patch` raises as soon as it does so: `WriteTimeoutError` when nobody answers.

        >>> from memsync import MemSync
        >>> with MemSync("doctest_transact", {"free": ["a", "b"]}) as mem:
        ...     mem.transact(lambda draft: draft["free"].pop())
        'b'
        """
        if not callable(function):
            raise UsageError(f"transact() needs a function of the draft, not {function!r:.60}")
        deadline = time.monotonic() + self._seconds(timeout)

        def send(operations: list[dict[str, Any]]) -> int:
            # The last try gets a moment, or its outcome would be unknown instead of a conflict.
            left = max(deadline - time.monotonic(), _LAST_TRY)
            return self.patch(operations, timeout=left)

        return self._editor.transact(self._live().replica.live, send, function, deadline)

    # -- waiting ---------------------------------------------------------------------------------

    def wait_for(
        self,
        condition: Mapping[str, Any] | Callable[[Any], Any],
        timeout: float | None = None,
    ) -> Any:
        """Wait until the object satisfies `condition`; returns the snapshot that did.

        `condition` is a MongoDB query
        (https://www.mongodb.com/docs/manual/reference/operator/query/), or a function that is
        given the read-only object and says whether it will do. It is looked at now and whenever
        something has changed that it may depend on. `timeout` is in seconds.

        Raises `WaitTimeoutError`, `UpdateError` for a query that is none, `NotStartedError` when
        this peer stops meanwhile, `UsageError` inside a callback (callbacks would wait for
        themselves), and what the function raises.

        >>> from memsync import MemSync
        >>> with MemSync("doctest_wait", {"state": "new"}) as mem:
        ...     future = mem.submit({"$set": {"state": "done"}})
        ...     mem.wait_for({"state": "done"}, timeout=10)
        {'state': 'done'}
        """
        seconds = self._seconds(timeout)
        if self._dispatcher.is_current():
            raise UsageError(
                "wait_for() inside a callback would wait for callbacks that come after it: start a "
                "thread for it, or look at mem.data in the callback"
            )
        return wait_for(self._live(), condition, seconds)

    def changes(self, path: str = "") -> Changes:
        """An iterator over ``(value, version)``: the value at a dotted path after each change.

        It begins with the first change after this call and ends when this peer stops, or with
        `Changes.close`. Changes that come faster than they are taken are drawn together: what is
        yielded is always the newest value, None where there is none, and never the same twice in a
        row. ``""`` is the whole object.

        Raises `UsageError` for what is no path.

        >>> from memsync import MemSync
        >>> with MemSync("doctest_changes", {"n": 0}) as mem:
        ...     changes = mem.changes("n")
        ...     _ = mem.patch({"$inc": {"n": 5}})
        ...     next(changes)[0]
        5
        """
        return Changes(self._live(), path)

    # -- the group -------------------------------------------------------------------------------

    @property
    def peers(self) -> list[dict[str, Any]]:
        """The other members: ``{"id", "pid", "roles", "methods", "host"}`` each."""
        node = self._known()
        with node.guard:
            members, host = dict(node.state.members), node.state.host
        return [
            {
                "id": member["id"],
                "pid": member["pid"],
                "roles": list(member["roles"]),
                "methods": list(member["methods"]),
                "host": member["id"] == host,
            }
            for member in members.values()
            if member["id"] != node.id
        ]

    def has_peers(self) -> bool:
        """Whether anybody else is in the group."""
        return bool(self.peers)

    def get_status(self) -> dict[str, Any]:
        """What this peer is and what it sees; in every state, waiting for nothing, raising nothing.

        ``status`` is ``"host"``, ``"client"``, ``"starting"`` (on the way to a host, the first or
        the next one) or ``"stopped"``, ``since`` since when (seconds since 1970), ``reason`` why
        the last role ended, or why no host is found. ``pending`` counts the own writes without an
        outcome, ``peers`` the other members. ``handing_over``: this peer orders no more writes, for
        it lets another one host. ``host``, or None where there is none: its id, pid, address, the
        number of its ``connections``, and ``since`` when it reigns.
        """
        node = self._joining or self._node
        if node is None:
            return dict(_NEVER_STARTED)
        role, hosting = node.role, node.hosting
        epoch, version = node.replica.shown
        members = node.state.members
        status = self._role_of(node, role)
        return {
            "status": status,
            "id": node.id,
            "epoch": epoch,
            "version": version,
            "pending": node.own.pending,
            "peers": len(members) - (node.id in members),
            "host": None if role is None or status == "stopped" else self._host_facts(node, role),
            "since": node.since,
            "reason": (status == "starting" and node.obstacle) or node.reason,
            "handing_over": hosting is not None and hosting.hand_over.has_begun,
        }

    def ping(self, timeout: float | None = None) -> dict[str, Any]:
        """Seconds for a round trip to the host; on the host, to each client.

        Raises `HostUnresponsiveError` when the host does not answer within `timeout` seconds.
        """
        node = self._live()
        seconds = self._seconds(timeout)
        role = node.role
        if isinstance(role, Host):
            clients = node.ping_clients(role, seconds)
            return {"connection": "host", "host": {"time": 0.0}, "clients": clients}
        try:
            if not isinstance(role, Link):
                raise TimeoutError
            return {"connection": "client", "host": {"time": role.ping(seconds)}}
        except TimeoutError:
            raise HostUnresponsiveError(
                f"the host of {self.name!r} did not answer within {seconds:g} s",
                pid=role.reign.pid if isinstance(role, Link) else None,
            ) from None

    def on(self, name: str, callback: Callable[..., Any]) -> Subscription:
        """Call back when something happens, on the dispatcher thread; returns a `Subscription`.

        `name` is one of ``connected(role)``, ``disconnected(reason)``,
        ``received_patches([{version, epoch, peer, patch}])``, ``host_changed({old, new, epoch})``,
        ``rolled_back(error)``, ``gap(count)``.
        """
        if name not in EVENTS:
            raise UsageError(f"there is no event {name!r}: choose one of {', '.join(EVENTS)}")
        if not callable(callback):
            raise UsageError(f"the callback of {name!r} must be callable, not {callback!r:.60}")
        return self._dispatcher.on(name, callback)

    # -- pickling and forking --------------------------------------------------------------------

    def __reduce__(self) -> tuple[Any, ...]:
        """What travels is name, data, options and folder, never the key; see `_rejoin`."""
        return (
            _rejoin,
            (type(self), self.name, self._founding, stated(self._options), str(self._root)),
        )

    def after_fork(self) -> None:
        """In a forked child the handle joins anew, as a peer of its own, when it is first used."""
        self._starting = threading.Lock()
        node = self._node
        if node is None or node.stopping:
            return
        node.close_after_fork()
        self._joins_at_use = True
        self._reset()

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "data":
            raise TypeError(
                "mem.data cannot be replaced: change the object with mem.patch({'$set': {...}}) or "
                "inside 'with mem.edit() as draft:'"
            )
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        status = self.get_status()
        return f"<MemSync {self.name!r} {status['status']} version={status['version']}>"

    # -- inside ----------------------------------------------------------------------------------

    def _live(self) -> Node:
        """The node, taking part."""
        node = self._known()
        if node.stopping:
            raise NotStartedError(f"MemSync({self.name!r}) has stopped: call start() again")
        return node

    def _known(self) -> Node:
        """The node, taking part or stopped."""
        node = self._node
        if node is not None:
            return node
        if not self._joins_at_use:
            raise NotStartedError(
                f"MemSync({self.name!r}) is not started: call start() first, or use it as "
                "'with MemSync(...) as mem:'"
            )
        self.start()
        assert self._node is not None
        return self._node

    def _seconds(self, timeout: float | None) -> float:
        return check_timeout(timeout, self._options.timeout)

    def _role_of(self, node: Node, role: Role | None) -> str:
        if node.stopping:
            return "stopped"
        return role.status if role is not None else "starting"

    def _host_facts(self, node: Node, role: Role) -> dict[str, Any]:
        if isinstance(role, Host):
            return {
                "id": node.id,
                "pid": os.getpid(),
                "address": role.seat.server.endpoint,
                "started": True,
                "connections": len(role.attached),
                "since": role.since,
            }
        return {
            "id": role.reign.peer,
            "pid": role.reign.pid,
            "address": role.reign.address,
            "started": True,
            "connections": max(len(node.state.members) - 1, 0),
            "since": role.reign.since,
        }


class _WriteFuture(Future[int]):
    """A future that cannot be cancelled, and runs its callbacks on the dispatcher."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher
        self._pid = os.getpid()
        self.set_running_or_notify_cancel()

    def add_done_callback(self, fn: Callable[[Future[int]], Any]) -> None:
        """Call `fn` with the future once it is done, on the dispatcher thread."""
        super().add_done_callback(lambda future: self._dispatcher.call_surely(fn, future))

    def result(self, timeout: float | None = None) -> int:
        """The version; waits for it, at most `timeout` seconds."""
        self._check_process()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The error, None if there is none; waits for the outcome, at most `timeout` seconds."""
        self._check_process()
        return super().exception(timeout)

    def _check_process(self) -> None:
        if self._pid != os.getpid() and not self.done():
            raise WriteTimeoutError(
                "this future came over a fork: its write is the parent's, and only there its "
                "outcome becomes known"
            )


def _rejoin(
    cls: type[MemSync[Any]],
    name: str,
    data: dict[str, Any],
    options: dict[str, Any],
    folder: str,
) -> MemSync[Any]:
    """A handle that came from another process: it joins as a peer of its own when first used."""
    handle = cls(name, data, options)
    handle._root = Path(folder)
    handle._joins_at_use = True
    return handle


def _leave_at_exit(node: Node) -> None:
    """Have a node leave its group when the process ends, also in a multiprocessing child."""
    global _registered_in
    _nodes.add(node)
    if _registered_in != os.getpid():
        _registered_in = os.getpid()
        util.Finalize(None, _leave_all, exitpriority=100)


def stop_all_in(folder: Path) -> None:
    """Stop everything that this process has started in a rendezvous folder; for tests."""
    for handle in forks.watched():
        if isinstance(handle, MemSync) and handle._root == folder:
            handle.stop()
    for node in list(_nodes):  # those whose handles are gone
        if node.folder.root == folder and node.pid == os.getpid():
            node.stop()
            _nodes.discard(node)


def _leave_all() -> None:
    deadline = time.monotonic() + _EXIT_PATIENCE
    for node in list(_nodes):
        if node.pid == os.getpid() and not node.stopping:
            node.stop(max(deadline - time.monotonic(), 0.1))
