"""`MemSync`: a handle on one shared object, and this process's membership in its group."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .errors import OptionsError, UsageError
from .lifecycle import DataBeforeStart, Lifecycle
from .options import check_path, check_timeout, read_config
from .runtime.awaited_write import Call
from .runtime.dispatcher import Subscription
from .runtime.edits import Edit, Send
from .runtime.futures import WriteFuture
from .runtime.waiting import Changes, wait_for
from .status import other_members, status_of

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
_LAST_TRY = 0.1  # seconds


class MemSync(Lifecycle, Generic[TState]):
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
        data = DataBeforeStart()  # start() puts the live document in front of it

    def __init__(
        self,
        name: str,
        data: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        engine: str | None = None,
        rpc: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self._setup(name, data, options, engine=engine, rpc=rpc)

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

    def __enter__(self) -> MemSync[TState]:
        self.start()
        return self

    # -- reading ---------------------------------------------------------------------------------

    def snapshot(self, path: str | None = None) -> Any:
        """A detached plain copy, consistent at one version.

        With a dotted `path` the value there, or None where there is none.
        """
        if path not in (None, ""):
            check_path(path)
        return self._started().participant.value(path)

    @property
    def version(self) -> int:
        """The confirmed version; with `epoch` it never goes back."""
        version: int = self._started().participant.replica.view_pair[1]
        return version

    @property
    def epoch(self) -> int:
        """The number of the reign to which `version` belongs."""
        epoch: int = self._started().participant.replica.view_pair[0]
        return epoch

    @property
    def id(self) -> str:
        """This peer's id: random, never reused."""
        peer: str = self._started().participant.id
        return peer

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
        return self._participating().writer.patch(update, call, seconds)

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
        future = WriteFuture(self._dispatcher)
        self._participating().writer.submit(update, call, future)
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
        return self._editor.edit(self._participating().replica.view, send)

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

        return self._editor.transact(self._participating().replica.view, send, function, deadline)

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
        return wait_for(self._participating(), condition, seconds)

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
        return Changes(self._participating(), path)

    # -- the group -------------------------------------------------------------------------------

    @property
    def peers(self) -> list[dict[str, Any]]:
        """The other members: ``{"id", "pid", "roles", "methods", "host"}`` each."""
        return other_members(self._started().participant)

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
        return status_of(self._joining or self._engine)

    def ping(self, timeout: float | None = None) -> dict[str, Any]:
        """Seconds for a round trip to the host; on the host, to each client.

        Raises `HostUnresponsiveError` when the host does not answer within `timeout` seconds.
        """
        return self._running().ping(self._seconds(timeout))

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

    def __repr__(self) -> str:
        status = self.get_status()
        return f"<MemSync {self.name!r} {status['status']} version={status['version']}>"

    def _seconds(self, timeout: float | None) -> float:
        return check_timeout(timeout, self._options.timeout)
