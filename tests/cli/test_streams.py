"""Commands that go on: watch and events, over a change of host, in pipes, until Ctrl-C."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from memsync import MemSync
from memsync.testing import Cluster, until

from .command import PROGRAM, check, ended_by, run, run_json, started

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.usefixtures("helpers")]

NAME = "stream"


def wait_for_reader(mem: MemSync[Any]) -> None:
    """Until a peer without roles has joined."""
    until(lambda: any(not peer["roles"] for peer in mem.peers), 20, "nobody reads")


def lines_up_to(process: subprocess.Popen[str], value: Any) -> list[dict[str, Any]]:
    """The lines of a watch, up to the one with a value."""
    assert process.stdout is not None
    lines: list[dict[str, Any]] = []
    while not lines or lines[-1]["value"] != value:
        line = json.loads(process.stdout.readline())
        check(line, "watch")
        lines.append(line)
    return lines


def test_watch_prints_a_line_for_each_change(mem: MemSync[Any]) -> None:
    with started("watch", NAME, "n", "--initial") as process:
        assert [line["value"] for line in lines_up_to(process, 0)] == [0]
        for number in range(1, 4):
            version = mem.patch({"$inc": {"n": 1}})
            [line] = lines_up_to(process, number)
            assert line["version"] >= version
            assert "missed" not in line
        mem.patch({"$set": {"other": 1}})  # no line
        mem.patch({"$set": {"n": None}})
        assert len(lines_up_to(process, None)) == 1
        assert ended_by(process, signal.SIGINT) == 130
        assert process.stderr is not None
        assert process.stderr.read() == "memsync: interrupted\n"
    until(lambda: not mem.peers, 10, "it has not left")


def test_watch_has_no_hole_over_the_death_of_the_host(cluster: Cluster) -> None:
    host, writer = cluster.peer({"n": 0}), cluster.peer()
    with started("watch", cluster.name, "n", "--initial") as process:
        seen = lines_up_to(process, 0)
        for number in range(1, 31):
            if number == 15:
                host.kill()
            writer.patch({"$inc": {"n": 1}})
            if number % 10 == 0:
                seen += lines_up_to(process, number)
        values = [line["value"] for line in seen]
        versions = [line["version"] for line in seen]
        assert values == sorted(set(values))  # no repeat, in order
        assert versions == sorted(set(versions))
        left_out = sum(line.get("missed", 0) for line in seen)
        # Writes that arrive together make one line; nothing else may be left out.
        assert left_out == 0
        assert {0, 10, 20, 30} <= set(values)


def test_watch_since_goes_on_where_it_ended(mem: MemSync[Any]) -> None:
    versions = [mem.patch({"$inc": {"n": 1}}) for _ in range(5)]
    with started("watch", NAME, "n", "--since", str(versions[1])) as process:
        seen = lines_up_to(process, 5)
        assert [(line["value"], line["version"]) for line in seen] == [
            (3, versions[2]),
            (4, versions[3]),
            (5, versions[4]),
        ]
        mem.patch({"$inc": {"n": 1}})
        assert [line["value"] for line in lines_up_to(process, 6)] == [6]


def test_watch_since_a_version_of_another_life_tells_that_something_is_missing(
    mem: MemSync[Any],
) -> None:
    mem.patch({"$inc": {"n": 1}})
    [line] = run_json("watch", NAME, "n", "--since", "1000000", "--timeout", "0.1")[:1]
    assert line["value"] == 1
    assert line["missed"] > 0


def test_watch_since_never_loses_what_is_written_while_it_joins(mem: MemSync[Any]) -> None:
    version = mem.version
    futures = [mem.submit({"$inc": {"n": 1}}) for _ in range(200)]
    with started("watch", NAME, "n", "--since", str(version)) as process:
        futures += [mem.submit({"$inc": {"n": 1}}) for _ in range(800)]
        seen = lines_up_to(process, 1000)
    values = [line["value"] for line in seen]
    assert values == sorted(set(values))
    assert values[0] == 1
    assert [future.result() for future in futures]


def test_watch_ends_after_a_time_without_a_change(mem: MemSync[Any]) -> None:
    assert run("watch", NAME, "n", "--timeout", "0.05").status == 124


def test_watch_runs_a_command_for_each_line(mem: MemSync[Any], tmp_path: Path) -> None:
    target = tmp_path / "lines"
    command = f'echo "$MEMSYNC_VERSION $(cat)" >> {target}; exit 3'
    with started("watch", NAME, "n", "--initial", "--exec", command) as process:
        until(lambda: target.exists() and target.read_text().count("\n") == 1, 20, "no line")
        mem.patch({"$inc": {"n": 1}})
        until(lambda: target.read_text().count("\n") == 2, 20, "no second line")
        mem.patch({"$inc": {"n": 1}})
        until(lambda: target.read_text().count("\n") == 3, 20, "no third line")
        ended_by(process, signal.SIGINT)
        assert process.stderr is not None
        errors = process.stderr.read()
    rows = [line.partition(" ") for line in target.read_text().splitlines()]
    assert [json.loads(line)["value"] for _, _, line in rows] == [0, 1, 2]
    assert [version for version, _, _ in rows] == [
        str(json.loads(line)["version"]) for _, _, line in rows
    ]
    assert errors.count("ended with status 3") in (2, 3)  # Ctrl-C may come before the last one


def test_events_prints_a_line_for_each_event(mem: MemSync[Any]) -> None:
    with started("events", NAME, "job.*") as process:
        wait_for_reader(mem)
        assert process.stdout is not None
        output = process.stdout

        def is_there() -> bool:  # the stream begins a moment after the join
            mem.events.emit("other")
            mem.events.emit("job.done", 7)
            return bool(select.select([output], [], [], 0.05)[0])

        until(is_there, 20, "no event")
        text = output.readline()
        line = json.loads(text)
        check(line, "events")
        assert (line["event"], line["args"], line["peer"]) == ("job.done", [7], mem.id)
        assert ended_by(process, signal.SIGINT) == 130


@pytest.mark.parametrize("words", ["watch stream n --initial", "events stream"])
def test_a_reader_that_has_seen_enough_ends_a_stream_quietly(mem: MemSync[Any], words: str) -> None:
    """At once, also where no further line comes."""
    command = f"set -o pipefail; {sys.executable} -m memsync {words} | (read line; exit 0)"
    with subprocess.Popen(
        ["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        if words.startswith("events"):
            wait_for_reader(mem)
            until(lambda: mem.events.emit("e") and not mem.peers, 20, "it goes on")
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    until(lambda: not mem.peers, 10, "it has not left")


def test_ctrl_c_is_one_json_error_with_json(mem: MemSync[Any]) -> None:
    with started("wait", NAME, '{"n": 1}', "--json") as process:
        wait_for_reader(mem)
        assert ended_by(process, signal.SIGINT) == 130
        assert process.stderr is not None
        errors = process.stderr.read()
    error = json.loads(errors)
    check(error, "error")
    assert error["status"] == 130


def test_a_frozen_host_is_an_error_with_its_process(cluster: Cluster) -> None:
    host = cluster.peer({"n": 0})
    host.pause()
    ended = run("get", cluster.name, "n", "--timeout", "0.3")
    assert ended.status == 3
    assert f"process {host.pid} hosts it" in ended.err
    assert [each["version"] for each in run_json("ls")[0]] == [None]
    begin = monotonic()
    assert run("wait", cluster.name, '{"n": 0}', "--timeout", "0.3").status == 3
    assert monotonic() - begin < 15  # not the option timeout
    host.resume()


def test_get_goes_on_over_a_change_of_host(cluster: Cluster) -> None:
    host, other = cluster.peer({"n": 7}), cluster.peer()
    host.kill()
    assert run("get", cluster.name, "n").out == "7\n"
    until(lambda: other.status()["status"] == "host", 20, "it answers, and does not host")


def test_python_m_memsync_is_the_command(mem: MemSync[Any]) -> None:
    result = subprocess.run(
        [*PROGRAM, "get", NAME, "n"], capture_output=True, text=True, check=True
    )
    assert (result.stdout, result.stderr) == ("0\n", "")
