"""The loggers of memsync: a handler that raises ends no call and no thread of memsync.

A handler belongs to the program. `logging` lets its errors pass to the caller of the logger, which
may be the thread that keeps this process in its group.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any

_CALLER = 3  # frames between the line that logs and the logger


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
        try:
            self.logger.log(level, message, *args, exc_info=exc_info, stacklevel=_CALLER)
        except Exception:
            if logging.raiseExceptions and sys.stderr is not None:
                print(f"--- a handler of {self.logger.name!r} failed ---", file=sys.stderr)
                traceback.print_exc()
