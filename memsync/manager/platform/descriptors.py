"""Bounded retries while this process, or the system, has no descriptors left.

Most shortages are short, so a call that needs a descriptor is tried again for a while. A peer that
waits is like a frozen process: the group goes on without it where it can, and the peer catches up.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from ...clocks import monotonic
from ..timing import TIMING
from .sockets import sleep

P = ParamSpec("P")
T = TypeVar("T")

_LAST_STANDARD = 2  # 0 is the input, 1 the output, 2 the output for errors
_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def is_shortage(error: OSError) -> bool:
    """Whether the cause of an error is a lack of descriptors or of memory."""
    return error.errno in _ERRNOS


def patiently(patience: float, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function; after a shortage try again, for `patience` seconds in all.

    Raises what the function raises. The caller must not hold a lock.
    """
    deadline = monotonic() + patience
    while True:
        try:
            return call(*args, **kwargs)
        except OSError as error:
            if not is_shortage(error) or monotonic() > deadline:
                raise
        sleep(TIMING.descriptor_retry)


def occupy_standard_descriptors() -> None:
    """Open /dev/null as each of the descriptors 0 to 2 that is closed, and leave it open.

    A program may be started without them (`>&-`). A lock or a socket with such a number would get
    what the program, a library or a child writes to its output, and would be closed when the
    program gets an output later (`os.dup2`). Children inherit them as they inherit an output.
    """
    while True:
        try:
            descriptor = os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free
        except OSError:  # none is free, or a bare root folder has no /dev/null
            return
        if descriptor > _LAST_STANDARD:
            os.close(descriptor)
            return
        os.set_inheritable(descriptor, True)


def hint(error: OSError, otherwise: str) -> str:
    """The advice for an error message: the limit on open files after a shortage, or `otherwise`."""
    if not is_shortage(error):
        return otherwise
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"close what is not needed, or raise the limit on open files (ulimit -n is {soft})"
