"""``memsync host``: a dedicated host in the foreground, which hands over when it is ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.testing import until

from .command import check, run, started

pytestmark = [pytest.mark.process, pytest.mark.slow]

NAME = "hosted"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_hands_over(folder: Path, number: signal.Signals) -> None:
    with started("host", NAME, "--json") as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        check(line, "host")
        assert (line["name"], line["status"], line["pid"]) == (NAME, "host", process.pid)
        with MemSync[Any](NAME) as mem:
            mem.patch({"$set": {"n": 1}})
            assert mem.get_status()["host"]["pid"] == process.pid
            process.send_signal(number)
            mem.patch({"$set": {"n": 2}})
            assert process.wait(timeout=20) == (130 if number == signal.SIGINT else 0)
            until(lambda: mem.get_status()["status"] == "host", 10, "nobody took over")
            assert mem.snapshot() == {"n": 2}
            rest = [json.loads(line) for line in process.stdout.read().splitlines()]
            for each in rest:
                check(each, "host")


def test_a_configuration_gives_data_and_options(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("name: other\ndata: {n: 5}\noptions: {network: {maxWriters: 3}}\n")
    with started("host", NAME, "--config", str(config)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(f"{NAME}: host in process {process.pid}, epoch 1, version ")
        assert run("get", NAME, "n").out == "5\n"
        process.terminate()
        out, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert f"{NAME}: ended at version" in out
    assert "Traceback" not in errors


LATE = """
import sys, time
from memsync.cli import main
from memsync.runtime.standby import FirstRole
begin = FirstRole.begin
def late(self, role):
    begin(self, role)
    time.sleep(0.3)  # `start` returns in this time
FirstRole.begin = late
sys.exit(main(sys.argv[1:]))
"""


def test_a_role_that_is_announced_late_is_one_line(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LATE, "host", NAME], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        process.terminate()
        lines += process.stdout.read().splitlines()
    assert [line.split()[1] for line in lines] == ["host", "ended"]


def test_a_dedicated_host_takes_over_and_gives_back(folder: Path) -> None:
    with MemSync[Any](NAME, {"n": 1}) as mem:
        with started("host", NAME) as process:
            until(lambda: mem.get_status()["status"] == "client", 20, "it did not take over")
            assert mem.get_status()["host"]["pid"] == process.pid
            process.kill()
        until(lambda: mem.get_status()["status"] == "host", 20, "nobody took over")
        assert mem.snapshot() == {"n": 1}


@contextmanager
def saving_host(tmp_path: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A host that has saved, and can no longer, because the folder of its file is a file."""
    config, folder = tmp_path / "config.yaml", tmp_path / "disk"
    file = folder / "state.json"
    config.write_text(f"options: {{file: {{path: {file}}}}}\n")
    with started("host", NAME, "--config", str(config), *words) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with MemSync[Any](NAME) as mem:
            mem.flush(timeout=20)  # the file is there a moment before the save is over
        folder.rename(tmp_path / "gone")
        folder.touch()
        yield process, file


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_last_save_that_fails_is_an_error(
    folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with saving_host(tmp_path, "--json") as (process, file):
        assert run("patch", NAME, '{"$set": {"n": 1}}').status == 0
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 4
    error = json.loads(errors)
    check(error, "error")
    assert (error["error"], error["status"]) == ("ERR_STORAGE", 4)
    assert f"not saved: {file}: cannot be written: Not a directory; the" in error["message"]
    assert "before the next start" in error["message"]


def test_a_host_that_hands_over_leaves_saving_to_the_next_one(folder: Path, tmp_path: Path) -> None:
    with saving_host(tmp_path) as (process, file), MemSync[Any](NAME) as mem:
        mem.patch({"$set": {"n": 1}})
        assert process.stderr is not None
        assert any("cannot save" in line for line in process.stderr)
        process.terminate()
        process.communicate(timeout=20)
        assert process.returncode == 0
        until(lambda: mem.get_status()["status"] == "host", 10, "nobody took over")
        file.parent.unlink()
        mem.flush(timeout=20)
        assert json.loads(file.read_text())["data"] == {"n": 1}


@pytest.mark.parametrize(
    ("words", "status", "error"),
    [
        (["a b"], 2, "'a b'"),
        ([NAME, "--config", "/none/such.yaml"], 2, "/none/such.yaml"),
    ],
)
def test_what_cannot_be_hosted(folder: Path, words: list[str], status: int, error: str) -> None:
    ended = run("host", *words)
    assert (ended.status, ended.out) == (status, "")
    assert error in ended.err


def test_the_log_is_no_output_of_json(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("options: {file: {path: /proc/missing/state.json}}\n")  # warned about
    with started("host", NAME, "--config", str(config), "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 4
        check(json.loads(process.stderr.read()), "error")
