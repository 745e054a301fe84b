"""Server-sent events: the changes of a part, each once and in order.

The id of an event is the pair ``epoch-version``. A client that comes back with it
(``Last-Event-ID``) gets exactly what it missed, from whichever process answers, or one ``snapshot``
where the log does not tell.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..clocks import monotonic
from ..replication.entries import Entry
from ..replication.log import Log
from .feed import Feed, Pair, snapshot
from .served import Gone, first_of
from .target import Tokens, bad_request

if TYPE_CHECKING:
    from ..runtime.participant import Participant
    from .served import Served

PING_SECONDS = 15.0
MAX_BEHIND = 1 << 20  # bytes of the log that a client which takes nothing may be behind
STALL_SECONDS = 1.0  # that it may take nothing then
CHUNK = 1 << 16  # bytes that are sent in one piece, about
RETRY = b"retry: 500\n\n"  # milliseconds after which a browser connects again

_PAIR = re.compile("([0-9]{1,18})-([0-9]{1,18})")
_NONE: Pair = (-1, -1)  # before the first snapshot


def parse_pair(text: str) -> Pair | None:
    """The pair in an event's id; None if it is no id of memsync.

    >>> parse_pair("3-17"), parse_pair("x")
    ((3, 17), None)
    """
    match = _PAIR.fullmatch(text)
    return None if match is None else (int(match[1]), int(match[2]))


def parse_since(last_event_id: str | None, since: str | None) -> Pair | None:
    """The pair after which a stream begins; None: with a snapshot. Raises `Problem`."""
    if last_event_id is not None:
        return parse_pair(last_event_id)
    if since is None:
        return None
    pair = parse_pair(since)
    if pair is None:
        raise bad_request(f"since = {since!r:.80}: expected an id of an event, like 3-17")
    return pair


class EventStream(Response):
    """The answer that has no end."""

    media_type = "text/event-stream"

    def __init__(self, served: Served, feed: Feed, tokens: Tokens, since: Pair | None) -> None:
        super().__init__()
        del self.headers["content-length"]
        self.headers["cache-control"] = "no-store"
        self.headers["x-accel-buffering"] = "no"
        self._served = served
        self._feed = feed
        self._tokens = tokens
        self._pair = since or _NONE
        self._due = asyncio.Event()
        self._blocked_since: float | None = None
        self._abort: Callable[[], None] = _nothing

    def advanced(self, log: Log) -> None:
        """Entries were published; a client that takes nothing and is far behind is cut off."""
        self._due.set()
        blocked = self._blocked_since
        if blocked is None or monotonic() - blocked < STALL_SECONDS:
            return
        if log.size_of_newest(max(log.version - self._pair[1], 0)) > MAX_BEHIND:
            self._abort()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the client goes, the peer stops, or the server ends."""
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        if scope["method"] != "HEAD":
            self._abort = scope.get("memsync.abort", self._abort)
            async with Gone(receive) as gone:
                with self._feed.following(self) as participant:
                    await self._write(send, RETRY)
                    await self._follow(participant, gone, send)
        await send({"type": "http.response.body", "body": b""})

    async def _follow(self, participant: Participant, gone: Gone, send: Send) -> None:
        served = self._served
        while not (gone.event.is_set() or served.closing.is_set() or served.engine.is_ended):
            self._due.clear()
            entries = self._feed.entries(participant, self._pair)
            chunks = (
                self._snapshot(participant)
                if entries is None
                else self._chunks(participant, entries)
            )
            for chunk in chunks:
                await self._write(send, chunk)
                if gone.event.is_set():
                    return
            if not entries and not self._due.is_set():
                await first_of(PING_SECONDS, self._due, served.closing, gone.event)
                if not self._due.is_set() and self._pair != _NONE:
                    await self._write(send, b": ping\nid: %d-%d\n\n" % self._pair)

    def _chunks(self, participant: Participant, entries: list[Entry]) -> Iterator[bytes]:
        """The events of entries; the pair is that of the last one that was taken."""
        blocks: list[bytes] = []
        size = 0
        for entry in entries:
            block = self._feed.block(participant, entry, self._tokens)
            if block is None:
                yield b"".join(blocks)
                yield from self._snapshot(participant)
                return
            self._pair = entry.epoch, entry.version
            if block:
                blocks.append(block)
                size += len(block)
            if size > CHUNK:
                yield b"".join(blocks)
                blocks, size = [], 0
        yield b"".join(blocks)

    def _snapshot(self, participant: Participant) -> Iterator[bytes]:
        found = snapshot(participant, self._tokens)
        if found is not None:
            block, self._pair = found
            for start in range(0, len(block), CHUNK):
                yield block[start : start + CHUNK]

    async def _write(self, send: Send, chunk: bytes) -> None:
        if chunk:
            self._blocked_since = monotonic()
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            self._blocked_since = None


def _nothing() -> None:
    pass
