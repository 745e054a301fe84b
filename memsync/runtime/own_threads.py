"""The threads of memsync on which no call may wait for memsync.

Code of the program runs on them: handlers of `logging`, and finalizers. A write there would wait
for an answer that this very thread has to read. The dispatcher is no such thread: callbacks may
write and wait for the outcome.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..errors import UsageError
from .native import Thread


class _Here(threading.local):
    is_own = False


_here = _Here()


class OwnThread(Thread):
    """A daemon thread of memsync that must not wait for memsync."""

    def __init__(self, target: Callable[..., None], name: str, args: tuple[Any, ...] = ()) -> None:
        super().__init__(target=target, name=name, args=args, daemon=True)

    def run(self) -> None:
        _here.is_own = True
        super().run()


def is_own_thread() -> bool:
    """Whether the calling thread is an `OwnThread`."""
    return _here.is_own


def refuse_waiting(call: str) -> None:
    """Raise `UsageError` on an `OwnThread`, where `call` would have memsync wait for itself."""
    if _here.is_own:
        thread = threading.current_thread().name
        raise UsageError(
            f"{call} would have memsync wait for itself: it was called on the thread {thread!r} of "
            "memsync, by a handler of logging or a finalizer. Have the handler put its records "
            "into a queue (logging.handlers.QueueHandler and QueueListener) or start a thread; "
            "submit() may be called, as it does not wait"
        )
