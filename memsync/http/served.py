"""One object as it is served: the values of its parts, their tags, and waits for them.

All methods but `Served.part_at` run on the thread of the server's event loop, and block it for no
longer than the guard of the view is held. Other threads only wake the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from ..document import encoded_json, is_digits
from ..errors import UsageError
from ..runtime.view_waiters import ViewWaiter
from ..storage.past import epoch_and_object_at
from .problems import Problem
from .target import Tokens, pointer_text

if TYPE_CHECKING:
    from ..engine import Engine
    from ..runtime.participant import Participant

ABSENT: Any = object()


class Part(NamedTuple):
    """The JSON text of a part at one moment, its tag, and the pair of the view."""

    body: bytearray
    tag: str
    epoch: int
    version: int


class Served:
    """One object of this process, from the start of its peer to the end."""

    def __init__(
        self, name: str, engine: Engine, describe: Callable[[], dict[str, Any]], *, writes: bool
    ) -> None:
        self.name = name
        self.engine = engine
        self.describe = describe
        """The status, as `MemSync.get_status` returns it."""
        self.writes = writes
        self.pinging: asyncio.Future[dict[str, float | None]] | None = None
        """A measurement of round trips that is under way; see `group`."""
        self.closing = asyncio.Event()
        """Set when it is served no longer: open answers end."""

    @property
    def participant(self) -> Participant:
        """The peer's copy; raises `Problem` when the peer has ended."""
        if self.engine.is_ended:
            raise Problem(
                503,
                "ERR_NOT_STARTED",
                f"the peer of {self.name!r} in this process has stopped: try again",
                {"Retry-After": "1"},
            )
        participant: Participant = self.engine.participant
        return participant

    def part(self, tokens: Tokens) -> Part | None:
        """A part now; None if there is no such value."""

        def look(view: Any) -> tuple[bytearray | None, tuple[int, int]]:
            value = value_at(view, tokens)
            body = None if value is ABSENT else encoded_json(value)
            return body, participant.replica.view_pair

        participant = self.participant
        body, pair = participant.read(look)
        return None if body is None else Part(body, tag_of(body), *pair)

    def part_at(self, tokens: Tokens, version: int) -> Part | None:
        """A part of an older version; raises `Problem` where neither log nor journal has it.

        It takes long where the object or the log is large, and reads files: not for the thread of
        the loop.
        """
        try:
            epoch, whole = epoch_and_object_at(self.participant, version)
        except UsageError as error:
            limits = {name: getattr(error, name, None) for name in ("oldest", "newest")}
            raise Problem(410, "ERR_NO_VERSION", str(error), **limits) from error
        value = value_at(whole, tokens)
        if value is ABSENT:
            return None
        body = encoded_json(value)
        return Part(body, tag_of(body), epoch, version)

    async def next_part(
        self, tokens: Tokens, known: Callable[[Part | None], bool], seconds: float, gone: Gone
    ) -> Part | None:
        """The first part that is not `known`; after some seconds the part as it is then."""
        waiter = LoopWaiter(pointer_text(tokens), asyncio.get_running_loop())
        participant = self.participant
        with participant.guard:
            participant.view_waiters.include(waiter)
        try:
            deadline = asyncio.get_running_loop().time() + seconds
            while True:
                waiter.clear()
                part = self.part(tokens)
                left = deadline - asyncio.get_running_loop().time()
                if not known(part) or left <= 0:
                    return part
                await first_of(left, waiter.changed, self.closing, gone.event)
                if self.closing.is_set() or gone.event.is_set():
                    return self.part(tokens)
        finally:
            participant.view_waiters.close(waiter)


class LoopWaiter(ViewWaiter):
    """Wakes a coroutine when the value at a place may have changed."""

    __slots__ = ("_loop", "_noted", "changed")

    def __init__(self, pointer: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__([pointer], None)
        self._loop = loop
        self._noted = False
        self.changed = asyncio.Event()
        self.wakeup: Any = _Wakeup(self._wake)

    def clear(self) -> None:
        """Wake again at the next change."""
        self.changed.clear()
        self._noted = self.due = False

    def _wake(self) -> None:
        if not self._noted:
            self._noted = True
            wake(self._loop, self.changed.set)


class _Wakeup:
    """In the place of a `runtime.wakeup.Wakeup`: no thread waits."""

    def __init__(self, wake_up: Callable[[], None]) -> None:
        self.set = wake_up


class Gone:
    """Whether the client of a request has gone; a context manager."""

    def __init__(self, receive: Callable[[], Any]) -> None:
        self.event = asyncio.Event()
        self._receive = receive
        self._task: asyncio.Task[None] | None = None

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.event.set()

    async def __aenter__(self) -> Gone:
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


async def first_of(seconds: float | None, *events: asyncio.Event) -> None:
    """Wait until one of the events is set, at most some seconds."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def wake(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Call a function on the thread of a loop, if that still runs; never blocks."""
    with contextlib.suppress(RuntimeError):  # it is closed
        loop.call_soon_threadsafe(callback)


def value_at(document: Any, tokens: Tokens) -> Any:
    """The value at a place, which may be a live container; `ABSENT` where there is none.

    >>> value_at({"a": [1, 2]}, ("a", "1")), value_at({"a": [1]}, ("a", "01")) is ABSENT
    (2, True)
    """
    value = document
    for token in tokens:
        if isinstance(value, dict):
            value = dict.get(value, token, ABSENT)
        elif isinstance(value, list) and is_index(token) and int(token) < len(value):
            value = list.__getitem__(value, int(token))
        else:
            return ABSENT
    return value


def is_index(token: str) -> bool:
    """Whether a token is an index as RFC 6901 writes it, of an array that can exist."""
    return is_digits(token) and len(token) < 16 and (token == "0" or token[0] != "0")


def tag_of(body: bytes | bytearray) -> str:
    """The entity tag of a text: the same at all peers, also after a change of host."""
    return '"' + urlsafe_b64encode(blake2b(body, digest_size=15).digest()).decode() + '"'
