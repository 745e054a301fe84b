"""``memsync demo``: real processes, a real kill, what it prints and returns."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from memsync.cli.demo.run import DemoError, Worker, _compare, run
from memsync.cli.demo.worker import Tally
from memsync.testing import until
from memsync.testing.temporary_folder import remove

from .command import check

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("helpers")]

COMMAND = str(Path(sysconfig.get_path("scripts"), "memsync"))


@contextmanager
def started_demo(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A running demo, in a session of its own in which no process may be left at the end."""
    with subprocess.Popen(
        [COMMAND, "demo", *arguments],
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


def _session(leader: int) -> list[int]:
    """The running processes of a session, where the system lists them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name of the program, in parentheses, may hold spaces.
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        if int(session) == leader and state != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize("workers", [2, 5])
def test_the_host_is_killed_and_nothing_is_lost(workers: int) -> None:
    with started_demo("--workers", str(workers), "--writes", "200") as process:
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, ""), output
    first, second = re.findall(r"^process (\d+) is host \(epoch (\d+)\)", output, re.MULTILINE)
    assert first[0] != second[0]
    assert int(first[1]) < int(second[1])
    rows = re.findall(r"process (\d+)( \(killed\))?: (\d+) \D+(\d+) in the shared object", output)
    assert len(rows) == workers
    assert [pid for pid, killed, *_ in rows if killed] == [first[0]]
    assert all(row[2:] == ("200", "200") for row in rows if not row[1])
    assert f"\ncounter: {sum(int(count) for *_, count in rows)}\n" in output
    assert output.endswith("\nnothing was lost\n")


def test_the_lines_are_json_on_demand() -> None:
    with started_demo("--workers", "2", "--writes", "20", "--json") as process:
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    lines = [json.loads(line) for line in output.splitlines()]
    for line in lines:
        check(line, "demo")
    assert lines[-1] == {"message": "nothing was lost"}


def test_a_worker_that_ends_by_itself_ends_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "begin", lambda worker, writes: worker.peer.kill())
    with pytest.raises(DemoError, match=r"worker process \d+ ended by itself"):
        run(2, 10)


@pytest.mark.parametrize(
    ("counts", "counter", "is_complete"),
    [
        ({"0": 3, "1": 5}, 8, True),
        ({"0": 4, "1": 5}, 9, True),  # sent by the killed worker, and not acknowledged
        ({"0": 2, "1": 5}, 7, False),
        ({"0": 5, "1": 5}, 10, False),
        ({"0": 3}, 3, False),
        ({"0": 3, "1": 5}, 9, False),
    ],
)
def test_a_lost_or_repeated_write_is_noticed(
    counts: dict[str, int], counter: int, is_complete: bool
) -> None:
    peers: list[Any] = [SimpleNamespace(pid=number) for number in range(2)]
    tallies = [Tally(4, 3), Tally(5, 5)]
    team: list[Any] = [SimpleNamespace(peer=peers[n], number=n, tally=tallies[n]) for n in range(2)]
    assert _compare(team, peers[0], counts, counter) == is_complete


def test_ctrl_c_ends_all_processes() -> None:
    with started_demo("--writes", "1000000") as process:
        assert process.stdout is not None
        assert "share one counter" in process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "memsync: interrupted\n")


def test_workers_end_when_their_parent_is_killed() -> None:
    with started_demo("--writes", "1000000") as process:
        assert process.stdout is not None
        process.stdout.readline()
        maps = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in _session(process.pid))
        process.kill()
        process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    for folder in set(re.findall(r"(/\S+)/tally-\d+$", maps, re.MULTILINE)):
        remove(Path(folder))  # what a killed parent cannot remove
