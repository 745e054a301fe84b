"""What each worker process runs: it adds 1 to the shared counter many times.

A worker also keeps a tally outside memsync, in a memory-mapped file. SIGKILL ends the process at
any instruction, but what the process has written to the mapping stays in the file.
"""

from __future__ import annotations

import logging
import struct
from mmap import mmap
from pathlib import Path
from typing import Any, NamedTuple

from ...handle import MemSync

_FORMAT = struct.Struct("qq")


class Tally(NamedTuple):
    """How many increments a worker has sent, and how many of them were acknowledged."""

    sent: int = 0
    acknowledged: int = 0

    @classmethod
    def read(cls, path: Path) -> Tally:
        """The tally in a file, while its worker runs or after the worker is dead."""
        return cls(*_FORMAT.unpack(path.read_bytes()))

    def pack(self) -> bytes:
        """The content of the file."""
        return _FORMAT.pack(*self)


def join(mem: MemSync[Any]) -> None:
    """Join the group. Log records are dropped, because the demo reports what happens itself."""
    logging.getLogger("memsync").addHandler(logging.NullHandler())
    mem.start()


def add(mem: MemSync[Any], number: int, writes: int, path: Path) -> None:
    """Increment the counter `writes` times and wait for each acknowledgement."""
    with path.open("r+b") as file, mmap(file.fileno(), _FORMAT.size) as mapping:
        for count in range(1, writes + 1):
            mapping[:] = Tally(count, count - 1).pack()
            mem.patch({"$inc": {"counter": 1, f"by_worker.{number}": 1}})
            mapping[:] = Tally(count, count).pack()
