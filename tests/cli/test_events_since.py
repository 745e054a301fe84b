"""``memsync events --since``: what the log of the host has, then what comes; nothing twice."""

from __future__ import annotations

import json
import select
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.testing import Cluster, until

from .command import check, ended_by, run_json, started

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.usefixtures("helpers")]

NAME = "stream"


def lines(process: subprocess.Popen[str], count: int) -> list[dict[str, Any]]:
    """The next lines of the output, which are as their schema has them."""
    assert process.stdout is not None
    found = [json.loads(process.stdout.readline()) for _ in range(count)]
    for line in found:
        check(line, "events")
    return found


def numbers(found: list[dict[str, Any]]) -> list[int]:
    return [line["args"][0] for line in found]


def test_it_goes_on_where_it_ended(mem: MemSync[Any]) -> None:
    versions = [mem.events.emit("job.done", number) for number in range(5)]
    mem.events.emit("other", 7)
    with started("events", NAME, "job.*", "--since", str(versions[1])) as process:
        seen = lines(process, 3)
        assert numbers(seen) == [2, 3, 4]
        assert [line["version"] for line in seen] == versions[2:]
        assert {line["event"] for line in seen} == {"job.done"}
        assert {line["peer"] for line in seen} == {mem.id}
        mem.events.emit("other", 8)
        version = mem.events.emit("job.late", 5)
        [line] = lines(process, 1)
        assert (line["event"], line["args"], line["version"]) == ("job.late", [5], version)
        assert ended_by(process, signal.SIGINT) == 130


def test_each_event_comes_once_while_it_joins(folder: Path) -> None:
    with MemSync[Any](NAME, options={"network": {"maxLog": 100_000}}) as mem:
        since, count = mem.version, 0
        with started("events", NAME, "--since", str(since)) as process:
            assert process.stdout is not None
            # It emits before, while and after the other one joins and asks for what was before.
            while not select.select([process.stdout], [], [], 0.001)[0]:
                mem.events.emit("e", count)
                count += 1
            for number in range(count, count + 100):
                mem.events.emit("e", number)
            assert numbers(lines(process, count + 100)) == list(range(count + 100))
            mem.events.emit("end", -1)
            assert numbers(lines(process, 1)) == [-1]


def test_what_the_log_no_longer_has_is_counted(folder: Path) -> None:
    with MemSync[Any](NAME, options={"network": {"maxLog": 10}}) as mem:
        since = mem.events.emit("e", 0)
        for number in range(1, 31):
            mem.events.emit("e", number)
        with started("events", NAME, "--since", str(since)) as process:
            gap, first = lines(process, 2)
            assert gap == {"missed": first["args"][0] - 1}
            assert first["args"][0] > 20
            rest = lines(process, 30 - first["args"][0])
            assert numbers([first, *rest]) == list(range(first["args"][0], 31))


def test_what_is_too_large_for_one_answer_comes_in_several(mem: MemSync[Any]) -> None:
    since = mem.version
    for number in range(40):
        mem.events.emit("e", number, "x" * 60_000)
    with started("events", NAME, "--since", str(since)) as process:
        assert numbers(lines(process, 40)) == list(range(40))


def test_a_version_that_the_group_has_not_reached_is_of_another_history(mem: MemSync[Any]) -> None:
    mem.events.emit("e", 1)
    with started("events", NAME, "--since", "1000000") as process:
        assert lines(process, 1) == [{"missed": None}]
        mem.events.emit("e", 2)
        assert numbers(lines(process, 1)) == [2]


def test_the_next_host_has_the_events_of_the_last_one(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0})
    with MemSync[Any](cluster.name) as mem:
        since = mem.version
        mem.events.emit("e", 1)
        with started("events", cluster.name, "--since", str(since)) as process:
            assert numbers(lines(process, 1)) == [1]
            host.kill()
            mem.events.emit("e", 2)
            assert numbers(lines(process, 1)) == [2]
        until(lambda: mem.get_status()["status"] == "host", 20, "nobody took over")
        with started("events", cluster.name, "--since", str(since)) as process:
            assert numbers(lines(process, 2)) == [1, 2]


def test_the_version_and_the_pattern_are_checked(mem: MemSync[Any]) -> None:
    for words in (["--since", "-1"], ["a..b", "--since", "0"]):
        error = run_json("events", NAME, *words)
        assert (error["status"], error["error"]) == (2, "ERR_USAGE")
