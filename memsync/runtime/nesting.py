"""Whether a call is made by a signal handler that interrupts a call of the same thread.

A mark that such a call sets and removes does not tell: an exception between two instructions leaves
it set. The frames of the thread tell, and end by themselves.
"""

from __future__ import annotations

from types import CodeType, FrameType


def is_called_below(frame: FrameType | None, owner: object, codes: tuple[CodeType, ...]) -> bool:
    """Whether a frame, or one that has called it, runs a method of `owner` with such a code."""
    while frame is not None:
        if frame.f_code in codes and frame.f_locals.get("self") is owner:
            return True
        frame = frame.f_back
    return False
