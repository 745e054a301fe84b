"""Starting threads, where the system may have none left."""

from __future__ import annotations

import resource

from ...errors import RendezvousError
from ...runtime.native import Thread


def start_thread(thread: Thread) -> None:
    """Start a thread; raises `RendezvousError` when the system, or this user, has none left."""
    try:
        thread.start()
    except RuntimeError as error:
        soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
        limit = "unlimited" if soft == resource.RLIM_INFINITY else soft
        raise RendezvousError(
            f"the thread {thread.name} cannot be started ({error}): end what is not needed, or "
            f"raise the limit on threads of this user (ulimit -u is {limit}) or of the container"
        ) from error
