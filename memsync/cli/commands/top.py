"""``memsync top``: one object live, from questions to its host; this process does not join."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from ...clocks import monotonic
from ...errors import HostUnresponsiveError, UsageError
from ..group import ask
from ..output import Output
from ..page import page

_ENDING = (signal.SIGTERM, signal.SIGHUP)
_RATES = 60  # of the last pages
_QUICK = 0.5  # seconds that the host has to answer before the page says that it does not
_CLEAR, _HOME, _END_OF_LINE, _REST = "\x1b[2J", "\x1b[H", "\x1b[K", "\x1b[J"
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # other screen, cursor


def run(arguments: Any, out: Output) -> None:
    if not 0.1 <= arguments.interval <= 3600:
        raise UsageError(f"--interval must be 0.1 to 3600 seconds, not {arguments.interval:g}")
    meter = Meter()
    first = _facts(arguments.name, meter, None)  # raises where there is no object
    if arguments.once or out.as_json or sys.stdout is None or not sys.stdout.isatty():
        for facts in _pages(arguments, meter, first):
            out.show("\n".join(page(facts, list(meter.rates), *_size())), facts)
        return
    with _screen():
        for facts in _pages(arguments, meter, first):
            lines = page(facts, list(meter.rates), *_size())
            sys.stdout.write(_HOME + f"{_END_OF_LINE}\n".join(lines) + _END_OF_LINE + _REST)
            sys.stdout.flush()


class Meter:
    """The writes per second, from the versions at two times."""

    def __init__(self) -> None:
        self.rates: deque[float] = deque(maxlen=_RATES)
        self._last: tuple[float, int] | None = None

    def note(self, now: float, version: int) -> float | None:
        """The rate since the last call; None at the first one."""
        rate = None
        if self._last is not None and now > self._last[0]:
            rate = max(version - self._last[1], 0) / (now - self._last[0])
            self.rates.append(rate)
        self._last = now, version
        return rate


def _facts(name: str, meter: Meter, timeout: float | None) -> dict[str, Any]:
    answer = ask(name, {"about": "status", "recent": True}, timeout)
    rate = meter.note(monotonic(), answer["version"])
    return {"name": name, **answer, "writes_per_second": rate}


def _pages(arguments: Any, meter: Meter, facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield facts
    while not arguments.once and not _is_ended(arguments.interval):
        try:
            facts = _facts(arguments.name, meter, _QUICK)
        except HostUnresponsiveError:
            facts = {**facts, "host": None}
        yield facts


def _has_keys() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _is_ended(seconds: float) -> bool:
    """Wait for the next page; returns whether q was pressed."""
    if not (_has_keys() and sys.stdout.isatty()):
        select.select([], [], [], seconds)
        return False
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready) and os.read(sys.stdin.fileno(), 64)[:1] in (b"q", b"Q", b"")


@contextmanager
def _screen() -> Iterator[None]:
    """The other screen of the terminal, without a cursor, and keys as they are pressed."""
    import termios
    import tty

    keys = sys.stdin.fileno() if _has_keys() else None
    before = None if keys is None else termios.tcgetattr(keys)
    handlers = {number: signal.signal(number, _end) for number in _ENDING}
    sys.stdout.write(_ENTER + _CLEAR)
    ended_by: int | None = None
    try:
        if keys is not None:
            tty.setcbreak(keys)
        yield
    except _Ended as error:
        ended_by = error.number
    finally:
        with suppress(OSError, termios.error):  # the terminal may be gone
            if keys is not None and before is not None:
                termios.tcsetattr(keys, termios.TCSADRAIN, before)
            sys.stdout.write(_LEAVE)
            sys.stdout.flush()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if ended_by is not None:
        os.kill(os.getpid(), ended_by)  # as if it had not been caught


class _Ended(BaseException):
    """A signal ends this process, after the terminal is as it was."""

    def __init__(self, number: int) -> None:
        self.number = number


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise _Ended(number)


def _size() -> tuple[int, int]:
    size = shutil.get_terminal_size((80, 24))
    return size.columns, size.lines
