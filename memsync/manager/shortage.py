"""When this process, or the machine, has no descriptors left for the moment.

Whoever needs one waits a little, for most shortages are short. While a peer waits it is like a
process that is frozen: others go on without it where they can, and it catches up.
"""

from __future__ import annotations

import errno
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PATIENCE = 1.0  # seconds; shorter than a lease
_PAUSE = 0.02
_RESERVED = 8  # descriptors: for a look into the folder, a lock and its witness, the key


def is_shortage(error: OSError) -> bool:
    """Whether there would be no error if there were more descriptors, or more memory."""
    return error.errno in _ERRNOS


def patiently(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call what needs a descriptor, again and again for a second where there is none.

    Raises what the call raises. No lock may be held by the caller.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return call(*args, **kwargs)
        except OSError as error:
            if not is_shortage(error) or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE)


def way_out(error: OSError, otherwise: str) -> str:
    """What an error message advises."""
    if not is_shortage(error):
        return otherwise
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"close what is not needed, or raise the limit on open files (ulimit -n is {soft})"


def is_reserved(descriptor: int) -> bool:
    """Whether a new descriptor is one of the last, which a host needs for its own files.

    The system gives out the lowest number that is free.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft != resource.RLIM_INFINITY and descriptor >= soft - _reserved(soft)


def _reserved(soft: int) -> int:
    return min(_RESERVED, soft // 8)


def spare_descriptors() -> int:
    """How many more this process may open, but for the last ones; negative where it has those."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    try:
        used = len(os.listdir("/dev/fd"))
    except OSError as error:  # else the system does not tell
        return -1 if is_shortage(error) else sys.maxsize
    return soft - used - _reserved(soft)


def share_of_descriptors(wanted: int) -> int:
    """At most a quarter of what this process may have open, so that strangers leave the rest."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft // 4))
