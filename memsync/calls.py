"""Remote calls: the methods of `MemSync` for them, and `Rpc`, which is ``mem.rpc``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import UsageError
from .group import GroupMember
from .runtime.own_threads import refuse_waiting

if TYPE_CHECKING:
    from .rpc.context import CurrentCall
    from .rpc.executor import PeerExecutor
    from .rpc.future import CallFuture
    from .rpc.peer_calls import PeerCalls
    from .rpc.request import Request

T = TypeVar("T")

_TASK_SECONDS = 30 * 24 * 3600.0  # that a task of an executor may take
_RUN = "memsync.run"  # as `rpc.functions` has it, which takes a while to import


class CallingMember(GroupMember):
    """The part of a handle that calls methods of other peers."""

    __slots__ = ()

    def call(
        self,
        name: str,
        /,
        *args: Any,
        peer: str | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call a method of a peer that has it, and return what it returns.

        Methods are those of the argument `rpc` of any handle in the group, by their dotted names,
        and published functions (`Rpc.publish`). Another peer is called if one has the method, the
        one with the fewest calls of this peer; else this peer runs it itself. What the method
        returns is a value like those of the arguments, or for a generator method a `Stream`, which
        gets the items one by one. The method sees all writes that this peer has seen.

        Parameters:
            name: the dotted name of the method
            peer: the id of the peer that is to run it (`peers`)
            timeout: seconds of the whole call; a stream without it may last for ever. The default
                is the option ``timeout``, and in a method what is left of its own time

        Raises what the method raises, or `RpcError` where that cannot be rebuilt here;
        `NoSuchMethodError` at once where no peer has the method; `RpcTimeoutError`, when the call
        was cancelled over there, and `PeerLostError`, where it may have run;
        `NotSerializableError`, `TooLargeError`, `NotStartedError`.

        >>> from memsync import MemSync
        >>> with MemSync("sums", rpc={"math": {"add": lambda a, b: a + b}}, engine="memory") as mem:
        ...     mem.call("math.add", 1, b=2)
        3
        """
        return self.rpc.call(name, args, kwargs, peer=peer, timeout=timeout)

    def call_all(
        self, name: str, /, *args: Any, timeout: float | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Call a method of all peers that have it, at the same time, this one included.

        Returns for each of them, by its id, what the method returns, or the exception. Raises
        `NoSuchMethodError` where no peer has the method.

        >>> from memsync import MemSync
        >>> with MemSync("pids", rpc={"pid": lambda: 42}, engine="memory") as mem:
        ...     list(mem.call_all("pid").values())
        [42]
        """
        calls, request = self._request("call_all()", name, args, kwargs, timeout)
        return calls.call_all(request)

    def run(
        self,
        function: Callable[..., T],
        /,
        *args: Any,
        on: str = "any",
        timeout: float | None = None,
        **kwargs: Any,
    ) -> T:
        """Run a function in another process, and return what it returns.

        Function, arguments and result travel as pickles (cloudpickle), so lambdas and functions of
        the main program may be used. `on` is ``"any"`` (an idle other peer, or else this one),
        ``"host"``, or the id of a peer. Otherwise like `call`. A peer with the option
        ``rpc.pickles: false`` runs no function of others.

        >>> from memsync import MemSync
        >>> with MemSync("helpers", engine="memory") as mem:
        ...     mem.run(lambda n: n * n, 7)
        49
        """
        if not callable(function):
            raise UsageError(f"run() needs a function, not {function!r:.60}")
        if not isinstance(on, str) or not on:
            raise UsageError(f"on must be 'any', 'host' or the id of a peer, not {on!r:.60}")
        calls, request = self._request("run()", _RUN, (function, *args), kwargs, timeout)
        result: T = calls.call(request, None if on == "any" else on)
        return result

    def executor(self, max_workers: int | None = None) -> PeerExecutor:
        """A `concurrent.futures.Executor` whose tasks run in the peers of the group.

        It takes the place of a `ProcessPoolExecutor`: the workers are the processes that share the
        object. `max_workers` is the number of tasks that are under way at the same time; the
        default is what the other peers run at the same time if they have this peer's option
        ``rpc.threads``.

        >>> from memsync import MemSync
        >>> with MemSync("helpers", engine="memory") as mem, mem.executor() as executor:
        ...     list(executor.map(pow, [2, 3], [5, 2]))
        [32, 9]
        """
        from .rpc.executor import WORKERS_MAX, PeerExecutor

        self._running()
        others = len(self.peers)
        if max_workers is None:
            max_workers = min(max(others, 1) * self._options.rpc.threads, WORKERS_MAX)
        is_number = isinstance(max_workers, int) and not isinstance(max_workers, bool)
        if not is_number or not 0 < max_workers <= WORKERS_MAX:
            raise UsageError(
                f"max_workers must be greater than 0 and at most {WORKERS_MAX}, a whole number, "
                f"not {max_workers!r}"
            )
        return PeerExecutor(self._run_task, max_workers)

    def _run_task(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        calls, request = self._request("run()", _RUN, (function, *args), kwargs, None)
        request.allow(_TASK_SECONDS)
        return calls.call(request)

    @property
    def rpc(self) -> Rpc:
        """More ways to call, and what a method can learn of its call; see `Rpc`."""
        return Rpc(self)

    def _request(
        self,
        call: str,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        timeout: float | None,
        *,
        peer: str | None = None,
        waits: bool = True,
    ) -> tuple[PeerCalls, Request]:
        """The calls of the running peer, and a checked request."""
        if waits:
            refuse_waiting(call)
        if not isinstance(name, str) or not name:
            raise UsageError(f"{call} needs the name of a method, not {name!r:.60}")
        if peer is not None and (not isinstance(peer, str) or not peer):
            raise UsageError(f"peer must be the id of a peer (mem.peers), not {peer!r:.60}")
        default = self._seconds(None)
        seconds = None if timeout is None else self._seconds(timeout)
        calls = self._peer.calls_of(self._running())
        from .rpc.request import Request  # the calls have imported it

        return calls, Request(name, args, kwargs, seconds, default)


class Rpc:
    """Remote calls in detail; reached as ``mem.rpc``."""

    __slots__ = ("_mem",)

    def __init__(self, mem: CallingMember) -> None:
        self._mem = mem

    def call(
        self,
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        peer: str | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Like `MemSync.call`, for methods with own arguments named ``peer`` or ``timeout``."""
        calls, request = self._checked("call()", name, args, kwargs, peer, timeout)
        return calls.call(request, peer)

    def submit(
        self,
        name: str,
        /,
        *args: Any,
        peer: str | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> CallFuture:
        """Call without waiting for the answer; returns a `concurrent.futures.Future`.

        The parameters are those of `MemSync.call`. `cancel` cancels the call over there: an
        asynchronous method gets `CancelledError`, a generator `GeneratorExit`, and any other method
        sees it in `current`. ``progress`` of the future is what the method has reported. Its
        callbacks run on the dispatcher thread. The first call to a peer waits for the connection.
        Raises what needs no answer.

        >>> from memsync import MemSync
        >>> with MemSync("sums", rpc={"add": lambda a, b: a + b}, engine="memory") as mem:
        ...     mem.rpc.submit("add", 1, 2).result(timeout=5)
        3
        """
        calls, request = self._checked("rpc.submit()", name, args, kwargs, peer, timeout)
        return calls.submit(request, peer)

    def publish(
        self, name: str, function: Callable[..., Any], *, timeout: float | None = None
    ) -> int:
        """Publish a function under a name: any peer runs it, also when this one has gone.

        The pickled function (cloudpickle) is part of the shared object's system part, so all peers
        have it; the last publication under a name counts. A method of that name in some peer's
        table comes first. Returns the version, as `MemSync.patch` does, and raises as it does.

        >>> from memsync import MemSync
        >>> with MemSync("sums", engine="memory") as mem:
        ...     version = mem.rpc.publish("square", lambda n: n * n)
        ...     mem.call("square", 4)
        16
        """
        refuse_waiting("rpc.publish()")
        calls = self._mem._peer.calls_of(self._mem._running())
        return calls.publish(name, function, self._mem._seconds(timeout))

    def unpublish(self, name: str, *, timeout: float | None = None) -> int:
        """End a publication; returns the version. Without effect where there is none."""
        refuse_waiting("rpc.unpublish()")
        calls = self._mem._peer.calls_of(self._mem._running())
        return calls.unpublish(name, self._mem._seconds(timeout))

    def current(self) -> CurrentCall:
        """The call for which the calling code runs, in a method; see `CurrentCall`.

        Raises `UsageError` outside of a method.

        >>> from memsync import MemSync
        >>> methods = {"who": lambda: mem.rpc.current().peer}
        >>> with MemSync("facts", rpc=methods, engine="memory") as mem:
        ...     mem.call("who") == mem.id
        True
        """
        from .rpc.context import current

        return current()

    def _checked(
        self,
        call: str,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
        peer: str | None,
        timeout: float | None,
    ) -> tuple[PeerCalls, Request]:
        if not isinstance(args, list | tuple):
            raise UsageError(f"{call}: the arguments must be a list or a tuple, not {args!r:.60}")
        if kwargs is not None and not isinstance(kwargs, (dict, Mapping)):
            raise UsageError(f"{call}: the named arguments must be a dict, not {kwargs!r:.60}")
        return self._mem._request(call, name, args, kwargs or {}, timeout, peer=peer)
