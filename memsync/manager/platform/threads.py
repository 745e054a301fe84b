"""Starting threads, where the system may have none left."""

from __future__ import annotations

import _thread
import resource
from collections.abc import Callable

from ...errors import RendezvousError
from ...runtime.native import LIBRARY, Thread


def launch_thread(thread: Thread, on_error: Callable[[BaseException], None]) -> None:
    """Start a thread by one call of C, at which no exception can come halfway.

    `Thread.start` is written in Python: an exception in the middle of it, out of a signal handler
    for example, may leave a thread that never gets further than its birth. So it is called on yet
    another thread, where no signal is handled; `on_error` gets what it raises there.
    """

    def launch() -> None:
        try:
            start_thread(thread)
        except BaseException as error:
            on_error(error)

    if LIBRARY:  # it has replaced the call
        start_thread(thread)
        return
    try:
        _thread.start_new_thread(launch, ())
    except RuntimeError as error:
        raise _no_thread(thread, error) from error


def start_thread(thread: Thread) -> None:
    """Start a thread; raises `RendezvousError` when the system, or this user, has none left."""
    try:
        thread.start()
    except RuntimeError as error:
        raise _no_thread(thread, error) from error


def _no_thread(thread: Thread, error: RuntimeError) -> RendezvousError:
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    limit = "unlimited" if soft == resource.RLIM_INFINITY else soft
    return RendezvousError(
        f"the thread {thread.name} cannot be started ({error}): end what is not needed, or "
        f"raise the limit on threads of this user (ulimit -u is {limit}) or of the container"
    )
