"""Whether a call is made by a signal handler that interrupts a call of the same thread.

A mark that such a call sets and removes does not tell: an exception between two instructions leaves
it set. The frames of the thread tell, and end by themselves.
"""

from __future__ import annotations

from types import CodeType, FrameType

from ..errors import UsageError
from .own_threads import is_own_thread

_PACKAGE = __name__.partition(".")[0]


def is_called_below(frame: FrameType | None, owner: object, codes: tuple[CodeType, ...]) -> bool:
    """Whether a frame, or one that has called it, runs a method of `owner` with such a code."""
    while frame is not None:
        if frame.f_code in codes and frame.f_locals.get("self") is owner:
            return True
        frame = frame.f_back
    return False


def is_called_back(frame: FrameType | None) -> bool:
    """Whether memsync has called, or was interrupted by, the code of the program that calls it.

    An interrupt may leave a lock taken, so that its owner alone does not tell. False on the threads
    of memsync, where handlers of logging may call what does not wait.
    """
    if is_own_thread():
        return False
    has_left = False
    while frame is not None:
        is_own = frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE
        if is_own and has_left:
            return True
        has_left = has_left or not is_own
        frame = frame.f_back
    return False


def nested_write(call: str) -> UsageError:
    """The error of a write that is made in the middle of a call of its own thread."""
    return UsageError(
        f"this write was made in the middle of {call} of the same thread, by a handler of logging, "
        "a signal handler or a finalizer: have it put what it writes into a queue (for logging, "
        "logging.handlers.QueueHandler and QueueListener), or start a thread that writes, and not "
        "wait for it"
    )
