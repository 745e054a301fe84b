"""uvicorn's HTTP protocol with bounds: a client that is silent, or reads nothing, is cut off."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from ..runtime.logs import Logger

REQUEST_SECONDS = 10.0  # for the head of a request to arrive
WRITE_SECONDS = 30.0  # for the client to take something of an answer


class _ErrorLog(Logger):
    """Without the warnings of requests that are no HTTP: anybody could fill the log with them."""

    level = logging.ERROR

    def warning(self, message: str, *args: object, exc_info: Any = None) -> None:
        pass


log = _ErrorLog("memsync.http.protocol")


class BoundedProtocol(H11Protocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = log  # type: ignore[assignment]  # it has what uvicorn uses
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn says so too
        self._expect_request()

    def handle_events(self) -> None:
        super().handle_events()
        if self._is_answering():
            self.scope["memsync.abort"] = self.transport.abort  # type: ignore[typeddict-unknown-key]

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._reading)
        _cancel(self._writing)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_progress()

    def resume_writing(self) -> None:
        _cancel(self._writing)
        super().resume_writing()

    def _expect_progress(self) -> None:
        """Cut the client off unless it takes something of what is left, again and again."""
        _cancel(self._writing)
        left = self.transport.get_write_buffer_size()
        self._writing = self.loop.call_later(WRITE_SECONDS, self._check_progress, left)

    def _check_progress(self, before: int) -> None:
        if self.transport.get_write_buffer_size() < before:
            self._expect_progress()
        else:
            self.transport.abort()

    def _expect_request(self) -> None:
        """Begin to wait for the end of a request's head; a request that runs has no limit."""
        if self._is_answering():
            _cancel(self._reading)
            self._reading = None
        elif self._reading is None:
            self._reading = self.loop.call_later(REQUEST_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._reading = None
        if not self._is_answering():
            self.transport.abort()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
