"""Programs of the tests, each in a session of its own, which has to end with the program."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from memsync.testing import until

PATIENCE = 40.0  # seconds that a program has to start, to end, or to replace a worker
ROOT = Path(__file__).parents[2]


def session_of(pid: int) -> list[str]:
    """The living processes of a session, by the process that leads it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, fields = path.read_text().rpartition(")")
            state, _, _, session, *_ = fields.split()
            if int(session) == pid and state != "Z":
                found.append(name)
    return found


@contextmanager
def program(
    *command: str, cwd: Path, environ: Mapping[str, str] | None = None, log: str = "log"
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``python *command``, which logs to a file in `cwd`; on exit its session must be over."""
    path = os.pathsep.join([str(ROOT), *[each for each in sys.path if each]])
    with (cwd / log).open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | {"PYTHONPATH": path} | dict(environ or {}),
            start_new_session=True,
        )
    try:
        yield process
        process.wait(PATIENCE)
        until(lambda: not session_of(process.pid), 5, lambda: f"left: {session_of(process.pid)}")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def check_folder(folder: Path) -> None:
    """Nothing is left of a group but its key and its last lock.

    A process whose end takes too long ends in the middle of writing a file: the next host removes
    what that leaves.
    """
    names = [path.name.partition("-")[0] for path in folder.glob("**/*") if not path.is_dir()]
    assert sorted(set(names) - {"tmp"}) == ["authkey", "epoch"], names


def recipe(page: str, heading: str) -> str:
    """The first program in a section of a page of the documentation."""
    section = (ROOT / "docs" / page).read_text().partition(f"\n## {heading}\n")[2]
    found = re.search(r"^```py\w*\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert found is not None, f"{page} has no program under {heading}"
    return found[1]
