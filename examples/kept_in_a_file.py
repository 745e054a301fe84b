"""The object outlives its processes: every one of them is killed, and the next group goes on.

Run it: python examples/kept_in_a_file.py
"""

from __future__ import annotations

import os
import signal
import tempfile
from multiprocessing import get_context
from pathlib import Path

from memsync import MemSync


def count(path: Path) -> None:
    """Count one further, keep it, and die without a word."""
    mem = MemSync("example_kept", {"runs": 0}, {"file": {"path": path}})
    mem.start()
    mem.patch({"$inc": {"runs": 1}})
    mem.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    context = get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "state.json")
        for _ in range(3):
            process = context.Process(target=count, args=(path,))
            process.start()
            process.join()
        with MemSync("example_kept", {"runs": 0}, {"file": {"path": path}}) as mem:
            print("runs:", mem.data["runs"])


if __name__ == "__main__":
    main()
