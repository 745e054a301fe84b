"""What all connections of a peer share to run methods: the table, the threads, the event loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ..clocks import monotonic
from ..errors import NoSuchMethodError
from ..runtime import forks
from ..runtime.native import Lock
from ..runtime.wakeup import Wakeup
from .context import CurrentCall, running
from .functions import RUN, Method, as_method, listed
from .pickles import Pickles
from .pool import Pool
from .timers import Timers
from .versions import NoVersions, Versions

if TYPE_CHECKING:
    from .loop import LoopThread

PAUSE_SECONDS = 0.005  # between two tests whether calls have ended


class Callee(Protocol):
    """The calls of one link; see `callee.Callee`."""

    def is_busy(self, own: CurrentCall | None) -> bool:
        """Whether a call other than `own` runs that will have a value."""

    def lost(self, reason: str) -> None:
        """Cancel all calls. Never blocks."""


class Service:
    """One per started peer; `close` ends its threads.

    `find` looks for a method that is not in `methods`, on a thread where code of the program may
    run.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        *,
        threads: int,
        pickles: bool,
        find: Callable[[str], Method | None] = lambda name: None,
        versions: Versions | None = None,
    ) -> None:
        self.methods = methods
        self.pickles = Pickles(pickles)
        self.pool = Pool(threads)
        self.timers = Timers()
        self.find = find
        self.versions = versions or NoVersions()
        self.is_stopping = False  # new calls are refused, but for those of calls under way
        self.callees: list[Callee] = []  # changed by single steps in C
        self._lock = Lock()  # protects the making of the loop
        self._loop: LoopThread | None = None

    def method(self, name: str) -> Method:
        """The method of a name; raises `NoSuchMethodError`."""
        method = self.methods.get(name) or self.find(name)
        if method is None and name == RUN and self.pickles.allowed:
            method = as_method(RUN, _run)
        if method is not None:
            return method
        if name == RUN:
            raise NoSuchMethodError("this peer runs no functions of others: rpc.pickles is false")
        known = listed(self.methods) or "none"
        raise NoSuchMethodError(f"this peer has no method {name!r}; its methods: {known}")

    @property
    def loop(self) -> LoopThread:
        """The event loop; made at first use, which imports asyncio."""
        if self._loop is None:
            with forks.importing:
                from .loop import LoopThread

            with self._lock:
                if self._loop is None:
                    self._loop = LoopThread()
        return self._loop

    @property
    def existing_loop(self) -> LoopThread | None:
        """The event loop if it was used before."""
        return self._loop

    def is_loop_thread(self) -> bool:
        """Whether the calling thread runs the event loop, which must not wait for a call."""
        return self._loop is not None and self._loop.is_current

    def drain(self, seconds: float) -> None:
        """Refuse new calls, and wait until those under way have ended, streams excluded.

        A method that calls this is not waited for.
        """
        if self.is_loop_thread():  # the methods there could not end
            return
        own, deadline, pause = running.get(), monotonic() + seconds, Wakeup()
        self.is_stopping = True
        try:
            while self._is_busy(own) and monotonic() < deadline:
                pause.wait(PAUSE_SECONDS)
        except BaseException:  # the peer does not stop
            self.is_stopping = False
            raise

    def _is_busy(self, own: CurrentCall | None) -> bool:
        return any(callee.is_busy(own) for callee in list(self.callees))

    def close(self, seconds: float) -> None:
        """End the threads; methods that still run have `seconds` to end, then they are left alone.

        The links are closed before, so that the calls are cancelled.
        """
        deadline = monotonic() + seconds
        for callee in list(self.callees):
            callee.lost("this peer stops")  # a link says so later, when no thread is left for it
        self.pool.close(seconds)
        if self._loop is not None:
            self._loop.close(max(deadline - monotonic(), 0))
        self.timers.close(max(deadline - monotonic(), 0))


def _run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)
