"""Runs of ``memsync demo`` as a user starts it, what they printed, and trees of files to count."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sysconfig
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from memsync.testing import until

COMMAND = str(Path(sysconfig.get_path("scripts"), "memsync"))
LAST_LINES = ["files", "words", "changes of host", "milliseconds without a host"]
LAST_LINES += ["writes per second", "equal"]


@dataclass
class Run:
    """What a run left: its exit status and output."""

    status: int
    stdout: str
    stderr: str

    @property
    def figures(self) -> dict[str, str]:
        """The plain lines at the end, which must be there in their order."""
        lines = [line.partition(": ") for line in self.stdout.splitlines()[-len(LAST_LINES) :]]
        assert [name for name, _, _ in lines] == LAST_LINES, self.stdout + self.stderr
        return {name: value for name, _, value in lines}

    @property
    def top(self) -> dict[str, int]:
        """The most frequent words."""
        rows = re.findall(r"^ *(\d+) (\S+)$", self.stdout, re.MULTILINE)
        return {word: int(number) for number, word in rows}


def run_demo(*arguments: object, timeout: float = 60) -> Run:
    """Run the demo to its end, and make sure that no process of it is left."""
    with started_demo(*arguments) as process:
        stdout, stderr = process.communicate(timeout=timeout)
    return Run(process.returncode, stdout, stderr)


@contextmanager
def started_demo(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A running demo, in a session of its own in which no process may be left at the end."""
    with subprocess.Popen(
        [COMMAND, "demo", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
            process.wait(timeout=60)
            until(lambda: not _session(process.pid), 10, "processes of the demo are left")
        finally:
            for pid in _session(process.pid):
                os.kill(pid, signal.SIGKILL)


def joined_workers(process: subprocess.Popen[str], count: int) -> list[int]:
    """The ids of the worker processes, once so many have joined; the demo must be verbose."""
    assert process.stderr is not None
    pids: list[int] = []
    for line in process.stderr:
        joined = re.search(r" (\d+) memsync\.node INFO (?:host|client) ", line)
        if joined and int(joined[1]) not in (process.pid, *pids):
            pids.append(int(joined[1]))
        if len(pids) == count:
            return pids
    raise AssertionError("the demo has ended")


def _session(leader: int) -> list[int]:
    """The living processes of a session (where the system tells)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name of the program, in brackets, may hold spaces.
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        if int(session) == leader and state != "Z":
            found.append(int(path.parent.name))
    return found


NASTY = (
    "items 0 _id __class__ Größe GRÖSSE İstanbul keys get copy ١٢ x.y $set a/b ~0 ~1 {} 'q' 中文\n"
)


def make_nasty_tree(root: Path) -> Counter[str]:
    """Files with everything that may trip a counter; returns the words of those that count."""
    texts = {
        "plain.txt": NASTY.encode(),
        "no.name with.dots and spaces .. .txt": b"one two two\r\nthree\xa0four",
        "deep/er/items": NASTY.encode() * 3,
        "deep/$set.0.txt": b"_id __init__ constructor prototype __proto__",
        "latin-1.txt": "Größe für café".encode("latin-1"),
        "cut.txt": "Größe".encode()[:3],
        "late-nul.txt": b"word " * 2000 + b"\0 tail",
        "empty.txt": b"",
        "blank.txt": b" \n\t.-+!\n",
        "long.txt": b"a" * 3000 + b" " + b"a" * 2999 + b"b " + b"a" * 3000,
        os.fsdecode(b"not-utf-8-\xff.txt"): b"strange name",
    }
    for name, content in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "binary.bin").write_bytes(b"binary\0binary")
    (root / "nul-at-8191.bin").write_bytes(b"x" * 8191 + b"\0")
    (root / "nul-at-8192.txt").write_bytes(b"y" * 8192 + b"\0")
    (root / "broken-link").symlink_to(root / "nowhere")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "fifo")
    counted = [*texts.values(), b"y" * 8192]
    words: Counter[str] = Counter()
    for content in counted:
        words.update(re.findall(r"\w+", content.decode("utf-8", "replace").lower()))
    return words


NASTY_FILES = 12


LARGE_FILES = 300


def make_large_tree(root: Path) -> None:
    """Files that keep several workers busy for longer than it takes to disturb them."""
    for number in range(LARGE_FILES):
        words = (f"w{number}x{word}" for word in range(1500))
        (root / f"{number}.txt").write_text(" ".join(words))
