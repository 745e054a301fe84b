"""What outlasts a test: processes that multiprocessing keeps, and notes that survive SIGKILL."""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

from memsync.testing.peer import preload


def helper_pids() -> set[int]:
    """The processes which multiprocessing keeps for itself until the tests are over."""
    # There is no public way to these numbers, and typeshed does not know them.
    server: Any = forkserver._forkserver
    tracker: Any = resource_tracker._resource_tracker
    return {pid for pid in (server._forkserver_pid, tracker._pid) if pid is not None}


def start_helpers() -> None:
    """Start those processes."""
    preload()
    forkserver.ensure_running()
    resource_tracker.ensure_running()


def log_to(path: str | os.PathLike[str]) -> Callable[[object], None]:
    """A function that appends a line to a file; what was appended survives SIGKILL."""
    descriptor = os.open(Path(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)

    def write(line: object) -> None:
        os.write(descriptor, f"{line}\n".encode())

    return write
