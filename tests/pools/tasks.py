"""What the workers of the pools do.

joblib's pools pickle what is in ``__main__`` by value, each function with globals of its own, so
this is a module.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from memsync import MemSync

NAME = "obj"
PLACES = {"network": {"maxWriters": 3}}
KILL = -1
"""The task that ends its worker."""

own: MemSync[Any] | None = None
"""The handle of this process: inherited, given to the initializer, or made there by name."""


def take(mem: MemSync[Any]) -> None:
    """An initializer that gets the handle."""
    global own
    own = mem


def make_by_name() -> None:
    """An initializer that makes a handle of its own."""
    take(MemSync(NAME, options=PLACES))
    assert own is not None
    own.start()


def work(mem: MemSync[Any] | None, number: int) -> int:
    """Count, claim a job and do it, with the handle that the task brings or that of the process."""
    mem = mem or own
    assert mem is not None
    mem.patch({"$inc": {"n": 1}})
    mem.transact(_claim)
    if number == KILL:
        mem.patch({"$inc": {"killed": 1}})
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def _claim(draft: Any) -> None:
    draft["done"].append(draft["jobs"].pop(0))


def begin_and_work(begin: tuple[Any, ...], mem: MemSync[Any] | None, number: int) -> None:
    """A whole worker with one task."""
    initializer, *arguments = begin
    if initializer is not None:
        initializer(*arguments)
    work(mem, number)
