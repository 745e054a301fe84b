"""`MemSync`: the handle on one shared object, and this process's membership in its group."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from .clocks import monotonic
from .errors import OptionsError
from .locking import proof_of
from .options import check_name_in, check_path, names_options, read_config
from .runtime.call import Call
from .runtime.callbacks import check_callback
from .runtime.futures import WriteFuture
from .runtime.own_threads import is_own_thread, refuse_waiting
from .watching import TState, Watching

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from .locks import Lock, Semaphore
    from .runtime.edits import Send
    from .runtime.moved_watch import MovedWatch

TResult = TypeVar("TResult")

_LAST_TRY = 0.1  # seconds that `transact` gives its last try


class MemSync(Watching[TState], Generic[TState]):
    """One JSON-like object, shared by processes; each process holds a live copy.

    Parameters:
        name: the name of the object, 1 to 300 characters of ``[A-Za-z0-9._-]``
        data: the object, if this peer founds it; ignored when the object exists already
        options: a dict of options (see `memsync.options`); wins over the environment and over YAML
        engine: ``"local"`` (the processes of this machine, the default) or ``"memory"`` (only
            handles of this process: no files, sockets or threads, which suits unit tests); wins
            over the option ``engine``
        rpc: the methods that other peers may call: functions by their names, in nested dicts if
            need be (see `call` and docs/calls.md). They belong to this handle, so a copy by pickle
            does not have them

    Raises `UsageError`, `OptionsError` or `NotSerializableError` for invalid arguments.

    There are four ways to write:

    * `patch` waits for the acknowledgement. Use it by default.
    * `submit` does not wait. Use it for many writes in a row.
    * `edit` guards a change with the values that it is based on. Use it for read-modify-write with
      plain Python, where a conflict is an error to handle.
    * `transact` repeats an edit until it is accepted. Use it where peers compete, for example for
      jobs in a queue.

    >>> from memsync import MemSync
    >>> with MemSync("counter", {"n": 0}, engine="memory") as mem:
    ...     version = mem.patch({"$inc": {"n": 2}})
    ...     mem.data["n"]
    2
    """

    data: TState

    @names_options
    def __init__(
        self,
        name: str,
        data: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        engine: str | None = None,
        rpc: Mapping[str, Any] | None = None,
    ) -> None:
        self._setup(name, data, options, engine=engine, rpc=rpc)

    @classmethod
    @names_options
    def from_config(
        cls,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        data: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        engine: str | None = None,
        rpc: Mapping[str, Any] | None = None,
    ) -> MemSync[Any]:
        """A handle from a YAML file with the keys name, data and options; arguments win.

        The arguments are those of `MemSync`; `engine` also wins over the option of the file.

        Raises `OptionsError` with the file and the line or path for an invalid file.
        """
        config = read_config(path)
        handle = cls.__new__(cls)
        chosen = name if name is not None else config.name
        if chosen is None:
            message = f"{config.source}: 'name' is missing, and no name was given"
            raise OptionsError(message, key="name", source=config.source)
        if name is None:
            check_name_in(config.source, chosen)
        handle._setup(
            chosen,
            data if data is not None else config.data,
            options,
            engine=engine,
            rpc=rpc,
            yaml_options=config.options,
            source=config.source,
        )
        return handle

    def __enter__(self) -> MemSync[TState]:
        self.start()
        return self

    # -- reading ---------------------------------------------------------------------------------

    @overload
    def snapshot(self, path: Literal[""] | None = None) -> TState: ...
    @overload
    def snapshot(self, path: str) -> Any: ...
    def snapshot(self, path: str | None = None) -> Any:
        """A detached plain copy of one version.

        With a dotted `path`, only the value there, None where there is none.
        """
        if path not in (None, ""):
            check_path(path)
        return self._started().participant.value(path)

    @overload
    def at(self, version: int, path: Literal[""] | None = None) -> TState: ...
    @overload
    def at(self, version: int, path: str) -> Any: ...
    def at(self, version: int, path: str | None = None) -> Any:
        """The object as it was at an older `version`, as a detached plain copy.

        With a dotted `path`, only the value there, None where there was none. The own writes that
        are still pending are in no version. A peer has the versions since it got the object, as far
        as its log reaches: ``network.maxLog`` entries, ``network.maxLogBytes``. Older ones are read
        from the journal, if there is one (docs/looking-back.md).

        Raises `UsageError` for a version that cannot be had; its ``oldest`` and ``newest`` are the
        first and the last one in memory.

        >>> from memsync import MemSync
        >>> with MemSync("note", {"text": "a"}, engine="memory") as mem:
        ...     before = mem.version
        ...     _ = mem.patch({"$set": {"text": "b"}})
        ...     mem.at(before), mem.at(mem.version, "text")
        ({'text': 'a'}, 'b')
        """
        from .storage.past import object_at

        return object_at(self._started().participant, version, path)

    @property
    def version(self) -> int:
        """The confirmed version; the pair of `epoch` and `version` never goes back."""
        version: int = self._started().participant.replica.view_pair[1]
        return version

    @property
    def epoch(self) -> int:
        """The number of the current host's epoch."""
        epoch: int = self._started().participant.replica.view_pair[0]
        return epoch

    @property
    def id(self) -> str:
        """The id of this peer: random, never reused."""
        peer: str = self._started().participant.id
        return peer

    # -- writing ---------------------------------------------------------------------------------

    def patch(
        self,
        update: Any,
        *,
        where: Mapping[str, Any] | None = None,
        array_filters: list[Any] | None = None,
        w: int | Literal["majority", "all"] = 1,
        journal: bool = False,
        timeout: float | None = None,
        emit: str | tuple[Any, ...] | None = None,
        lock: Lock | Semaphore | None = None,
    ) -> int:
        """Apply an update and wait until it is acknowledged; returns the version that contains it.

        The update is visible in ``mem.data`` at once. An update that changes nothing returns the
        current version, ``$setOnInsert`` for example, because the shared object exists.

        What is read afterwards may contain writes of others: after ``$inc`` the counter has this
        increment, but is not this writer's number. A number that nobody else gets is read and
        counted up by `transact` (docs/conflicts.md).

        Parameters:
            update: MongoDB update operators
                (https://www.mongodb.com/docs/manual/reference/operator/update/), a list of RFC 6902
                operations, or a ``jsonpatch.JsonPatch``
            where: a MongoDB query; the update is applied only if the host's state matches it
            array_filters: a list of MongoDB queries for ``$[identifier]`` in the update's paths
            w: the number of members that must have the write before it is acknowledged: 1 (the host
                and this peer), a larger number, ``"majority"`` or ``"all"``, of the members at the
                time of the write
            journal: whether it must be in the host's journal on disk as well
            timeout: seconds; the default is the option ``timeout``
            emit: a name, or a tuple of a name and arguments, of an event (see `Events`) that is in
                one entry with the update: peers get both or neither. An accepted update that
                changes nothing emits, too
            lock: a lock that this peer holds (`lock`); the update is applied only if the host still
                knows it as the holder. It is then decided by that, not by the conflict rule

        Raises, with nothing changed: `UpdateError` or `NotSerializableError` for an invalid update,
        `ConditionError` if `where` does not match, `ConflictError` if another peer wrote to the
        same place and this peer had not seen it (docs/conflicts.md), `LockLostError` if the lock is
        no longer held, `ReadOnlyError`, `UsageError`, `TooLargeError`, `QueueFullError`,
        `NotStartedError`. Raises `WriteTimeoutError` if the outcome is unknown: the update may
        still be applied. Raises `WriteConcernError` if it is applied, but not in as many members as
        `w` demands.

        >>> from memsync import MemSync
        >>> with MemSync("jobs", {"job": {"state": "free"}}, engine="memory") as mem:
        ...     _ = mem.patch({"$set": {"job.state": "mine"}}, where={"job.state": "free"})
        ...     mem.snapshot("job.state")
        'mine'
        """
        refuse_waiting("patch()")
        seconds = self._seconds(timeout)
        proof = proof_of(lock, self)
        end = monotonic() + seconds
        call = Call(where, array_filters, w, journal, end, "patch", None, emit, proof)
        return self._participating().writer.patch(update, call, seconds)

    def submit(
        self,
        update: Any,
        *,
        where: Mapping[str, Any] | None = None,
        array_filters: list[Any] | None = None,
        w: int | Literal["majority", "all"] = 1,
        journal: bool = False,
        timeout: float | None = None,
        emit: str | tuple[Any, ...] | None = None,
        lock: Lock | Semaphore | None = None,
    ) -> Future[int]:
        """Apply an update without waiting; returns a future of the version.

        The parameters are those of `patch`. The writes of all threads have one order, the order of
        their calls. The future raises what `patch` raises; errors that need no host are raised
        here. Its callbacks run on the dispatcher thread.

        While ``network.window`` writes are under way, the call blocks for at most `timeout` seconds
        and then raises `QueueFullError`. `timeout` also limits the wait for a write concern, but
        not the wait for the outcome itself.

        >>> from memsync import MemSync
        >>> with MemSync("log", {"lines": []}, engine="memory") as mem:
        ...     futures = [mem.submit({"$push": {"lines": number}}) for number in range(3)]
        ...     _ = [future.result(timeout=5) for future in futures]
        ...     mem.snapshot("lines")
        [0, 1, 2]
        """
        patience = 0.0 if is_own_thread() else self._seconds(timeout)
        proof = proof_of(lock, self)
        end = monotonic() + patience
        call = Call(where, array_filters, w, journal, end, "patch", None, emit, proof)
        future = WriteFuture(self._dispatcher.call_surely)
        self._participating().writer.submit(update, call, future)
        return future

    def edit(
        self, timeout: float | None = None, *, lock: Lock | Semaphore | None = None
    ) -> AbstractContextManager[TState, None]:
        """A context manager around a draft; at its end the changes are sent as one patch.

        The draft is an editable copy of the object, of dicts and lists (docs/conflicts.md#drafts).
        The patch tests every old value that the block has read or changed (RFC 6902 ``test``). If
        another peer has changed one of them, leaving the block raises `ConflictError` with ``path``
        and ``value``, and changes nothing. An exception inside the block sends nothing.

        `timeout`, in seconds, starts at the end of the block. With a `lock`, the patch is refused
        unless the host still knows the hold of this moment (see `patch`). Raises what `patch`
        raises, and `UsageError` inside of the block of another draft of the same object.

        >>> from memsync import MemSync
        >>> with MemSync("cart", {"cart": {"n": 1}}, engine="memory") as mem:
        ...     with mem.edit() as draft:
        ...         draft["cart"]["n"] += 1
        ...     mem.snapshot("cart.n")
        2
        """
        refuse_waiting("edit()")
        seconds, proof = self._seconds(timeout), proof_of(lock, self)
        participant = self._participating()
        watch = participant.view_waiters.watch(participant.replica.view)
        send: Send = functools.partial(self._send_draft, watch, seconds, proof)
        return self._editor.edit(watch, send)

    def transact(
        self,
        function: Callable[[TState], TResult],
        timeout: float | None = None,
        *,
        lock: Lock | Semaphore | None = None,
    ) -> TResult:
        """Run ``function(draft)`` as an `edit` until it is accepted; returns the function's result.

        In the result, plain detached copies are in the place of parts of the draft.

        The function may run several times, so it must only read and change the draft. `timeout` is
        in seconds; after it the last `ConflictError` is raised. `lock` is that of `edit`. Other
        errors of `patch`, and those of the function, are raised at once.

        >>> from memsync import MemSync
        >>> with MemSync("queue", {"free": ["a", "b"]}, engine="memory") as mem:
        ...     mem.transact(lambda draft: draft["free"].pop())
        'b'
        """
        check_callback("the function of transact()", function)
        refuse_waiting("transact()")
        deadline, proof = monotonic() + self._seconds(timeout), proof_of(lock, self)
        participant = self._participating()
        watch = participant.view_waiters.watch(participant.replica.view)

        def send(operations: list[dict[str, Any]]) -> int:
            # The last try needs a moment, or its outcome would be unknown instead of a conflict.
            left = max(deadline - monotonic(), _LAST_TRY)
            return self._send_draft(watch, left, proof, operations)

        return self._editor.transact(watch, send, function, deadline)

    def _send_draft(
        self,
        watch: MovedWatch,
        seconds: float,
        proof: list[Any] | None,
        operations: list[dict[str, Any]],
    ) -> int:
        """Send the patch of a draft; `watch` is then for the next one."""
        call = Call(deadline=monotonic() + seconds, watch=watch, lock=proof)
        try:
            return self._participating().writer.patch(operations, call, seconds)
        finally:
            watch.restart()
