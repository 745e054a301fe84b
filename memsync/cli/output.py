"""What commands print: text for people, or JSON for programs; errors of both kinds."""

from __future__ import annotations

import codecs
import io
import json
import os
import select
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TextIO

from ..errors import MemSyncError

_AGAIN = 0.05  # seconds until a signal without effect is sent again


def compact(value: Any) -> str:
    """A value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Output:
    """The standard output of one command."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def show(self, text: str, value: Any) -> None:
        """Print one or the other; at once, as a reader may wait for it."""
        print(compact(value) if self.as_json else text, flush=True)

    def line(self, value: Any) -> None:
        """Print a line of JSON, which is the text as well."""
        print(compact(value), flush=True)


def report(message: str, status: int, error: BaseException | None, *, as_json: bool) -> int:
    """Print an error to the error output, and return the exit status."""
    if as_json:
        is_own = isinstance(error, MemSyncError)
        message = compact(
            {
                "error": str(error.code) if isinstance(error, MemSyncError) else None,
                "message": message,
                "outcome": error.outcome if is_own and isinstance(error, MemSyncError) else None,
                "status": status,
            }
        )
    else:
        message = f"memsync: {message}"
    complain(message)
    return status


def complain(text: str) -> None:
    """Print to the error output; where that is closed or full, the status is all there is."""
    if sys.stderr is not None:  # print() would take the output
        try:
            print(text, file=sys.stderr, flush=True)
        except OSError:
            discard(sys.stderr)


def discard(stream: TextIO | None) -> None:
    """Whatever is flushed from now on goes nowhere."""
    with suppress(AttributeError, OSError):  # there is none, or it is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[union-attr]


def escape_what_has_no_code() -> None:
    """Print characters that the encoding of the terminal lacks as JSON escapes.

    Names of files may be no text at all, and JSON stays JSON.
    """
    codecs.register_error("memsync", _escape)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="memsync")


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


@contextmanager
def ends_with_reader() -> Iterator[None]:
    """Raise `BrokenPipeError` in the block as soon as nobody reads the output any more.

    A stream would else notice it at its next line, which may never come.
    """
    if not _is_pipe():
        yield
        return
    main = threading.get_ident()

    def watch() -> None:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # an error is reported in any case
        poll.poll()
        # Python notes a signal that comes just before a wait in C only after that wait.
        while is_open:
            signal.pthread_kill(main, signal.SIGURG)  # by default it has no effect
            time.sleep(_AGAIN)

    def close(number: int, frame: FrameType | None) -> None:
        if is_open:  # once, or it would disturb how the command ends
            is_open.clear()
            raise BrokenPipeError

    is_open = [True]
    before = signal.signal(signal.SIGURG, close)
    threading.Thread(target=watch, name="memsync-output", daemon=True).start()
    try:
        yield
    finally:
        is_open.clear()
        signal.signal(signal.SIGURG, before)


def _is_pipe() -> bool:
    is_main = threading.current_thread() is threading.main_thread()
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except (AttributeError, OSError):  # there is none, or it is no file
        return False
    return is_main and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))
