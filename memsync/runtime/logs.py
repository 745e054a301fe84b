"""The loggers of memsync: a handler that raises ends no call and no thread of memsync.

A handler belongs to the program. `logging` lets its errors pass to the caller of the logger, which
may be the thread that keeps this process in its group.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from collections import deque
from typing import Any

from .native import LIBRARY, Condition, Lock, is_real_thread

_CALLER = 3  # frames between the line that logs and the logger


class _HubLog:
    """Writes the lines of memsync's own threads in a greenlet, where a library has patched.

    The locks of `logging` are those of greenlets there, and a thread may wait for one for ever.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._lines: deque[tuple[Any, ...]] = deque(maxlen=10_000)
        self._added = Condition(Lock())
        threading.Thread(target=self._run, name="memsync-log", daemon=True).start()

    def add(self, *line: Any) -> None:
        with self._added:
            self._lines.append(line)
            self._added.notify()

    def _run(self) -> None:
        while True:
            with self._added:
                while not self._lines:
                    self._added.wait()
                logger, level, message, args, exc_info = self._lines.popleft()
            logger._log(level, message, args, exc_info)


_hub_log: _HubLog | None = None


def log_in_hub() -> None:
    """In a patched process: have the hub of the calling thread write the lines of our threads."""
    global _hub_log
    if LIBRARY and (_hub_log is None or _hub_log.pid != os.getpid()):
        _hub_log = _HubLog()


class Logger:
    """A logger whose methods raise no `Exception`.

    What a handler raises goes to stderr with its traceback, unless ``logging.raiseExceptions`` is
    off; `logging.Handler.handleError` does the same.
    """

    def __init__(self, name: str) -> None:
        self.logger = logging.getLogger(name)

    def debug(self, message: str, *args: object) -> None:
        self._log(logging.DEBUG, message, args)

    def info(self, message: str, *args: object) -> None:
        self._log(logging.INFO, message, args)

    def warning(self, message: str, *args: object, exc_info: Any = None) -> None:
        self._log(logging.WARNING, message, args, exc_info)

    def error(self, message: str, *args: object, exc_info: Any = None) -> None:
        self._log(logging.ERROR, message, args, exc_info)

    def exception(self, message: str, *args: object) -> None:
        self._log(logging.ERROR, message, args, exc_info=True)

    def critical(self, message: str, *args: object, exc_info: Any = None) -> None:
        self._log(logging.CRITICAL, message, args, exc_info)

    def log(self, level: int, message: str, *args: object, exc_info: Any = None) -> None:
        self._log(level, message, args, exc_info)

    def is_on(self, level: int) -> bool:
        """Whether lines of this level are wanted."""
        return self.logger.isEnabledFor(level)

    def _log(
        self, level: int, message: str, args: tuple[object, ...], exc_info: Any = None
    ) -> None:
        if LIBRARY and _hub_log is not None and is_real_thread():
            error = sys.exc_info() if exc_info is True else exc_info
            _hub_log.add(self, level, message, args, error)
            return
        try:
            self.logger.log(level, message, *args, exc_info=exc_info, stacklevel=_CALLER)
        except Exception:
            if logging.raiseExceptions and sys.stderr is not None:
                print(f"--- a handler of {self.logger.name!r} failed ---", file=sys.stderr)
                traceback.print_exc()
