"""When this process, or the platform, has no descriptors left for the moment.

A caller that needs one tries again for a while, because most shortages are short. A peer that
waits is like a frozen process: the others go on without it where they can, and it catches up.
"""

from __future__ import annotations

import errno
import resource
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from ..timing import TIMING

P = ParamSpec("P")
T = TypeVar("T")

_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def is_shortage(error: OSError) -> bool:
    """Whether there would be no error if there were more descriptors, or more memory."""
    return error.errno in _ERRNOS


def patiently(patience: float, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call what needs a descriptor; where there is none, try again for `patience` seconds.

    Raises what the call raises. No lock may be held by the caller.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return call(*args, **kwargs)
        except OSError as error:
            if not is_shortage(error) or time.monotonic() > deadline:
                raise
        time.sleep(TIMING.descriptor_retry)


def hint(error: OSError, otherwise: str) -> str:
    """What an error message advises."""
    if not is_shortage(error):
        return otherwise
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"close what is not needed, or raise the limit on open files (ulimit -n is {soft})"
