"""The command line: arguments, exit statuses, and what works without the packages of the extra."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import memsync
from memsync import MemSync
from memsync.cli import main
from memsync.cli.demo import run as run_module
from memsync.cli.demo.run import DemoError

from .command import on_terminal, run


def failing(error: BaseException) -> Callable[..., Any]:
    def run(*_: object) -> Any:
        raise error

    return run


@pytest.mark.parametrize(
    ("run", "status", "message"),
    [
        (lambda *_: True, 0, ""),
        (lambda *_: False, 1, ""),
        (failing(DemoError("worker 1 ended")), 1, "memsync: the demo failed: worker 1 ended\n"),
        (failing(KeyboardInterrupt()), 130, "memsync: interrupted\n"),
    ],
)
def test_exit_statuses(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run: Callable[..., bool],
    status: int,
    message: str,
) -> None:
    monkeypatch.setattr(run_module, "run", run)
    assert main(["demo"]) == status
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    "arguments", [["demo", "--workers", "1"], ["demo", "--writes", "0"], ["doctor", "a/b"]]
)
def test_bad_arguments_are_named(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(arguments) == 2
    assert arguments[1] in capsys.readouterr().err


@pytest.mark.parametrize("workers", ["-1", "1", "101", "100000"])
def test_the_demo_takes_a_bounded_number_of_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], workers: str
) -> None:
    monkeypatch.setattr(run_module, "run", lambda *_: True)
    assert main(["demo", "--workers", workers]) == 2
    assert f"--workers must be 2 to 100, not {workers}" in capsys.readouterr().err
    assert main(["demo", "--workers", "100"]) == 0


@pytest.mark.parametrize(("command", "missing"), [("call", "method"), ("emit", "event")])
def test_only_what_is_missing_is_named(
    capsys: pytest.CaptureFixture[str], command: str, missing: str
) -> None:
    assert main([command, "shop"]) == 2
    assert f"are required: {missing}\n" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{memsync.__version__}\n"


def test_the_command_needs_no_extra() -> None:
    program = "import sys; sys.modules.update(rich=None, typer=None); import memsync.cli as c; "
    program += "sys.exit(c.main(['doctor']))"
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.stderr == ""
    assert "  ok    no object is shared here\n" in result.stdout


def test_a_reader_that_closes_the_pipe_gets_no_traceback() -> None:
    command = [sys.executable, "-c", "import memsync.cli as c, sys; sys.exit(c.main(['doctor']))"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colour_only_in_a_terminal_that_wants_it(
    monkeypatch: pytest.MonkeyPatch, no_color: str
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm")
    pytest.importorskip("rich")
    with on_terminal("doctor") as (process, terminal):
        text = b""
        while b"all is well" not in text:
            text += os.read(terminal, 1 << 12)
        assert process.wait(timeout=20) == 0
    assert (b"\x1b[" in text) == (not no_color)
    assert "\x1b" not in run("doctor").out


def test_warnings_are_lines_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MEMSYNC_TIMEOUTS", "5")
    assert main(["doctor"]) == 0
    assert capsys.readouterr().err.startswith("memsync: warning: ignored, not an option of memsync")
    monkeypatch.delenv("MEMSYNC_TIMEOUTS")
    monkeypatch.setenv("MEMSYNC_LOCK_TOKEN", "5")
    monkeypatch.setenv("MEMSYNC_VERSION", "5")
    assert main(["doctor"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_an_output_that_cannot_be_written() -> None:
    command = [sys.executable, "-m", "memsync", "doctor"]
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert result.returncode == 4
    assert result.stderr == "memsync: [Errno 28] No space left on device\n"


UNUSED = ["memsync.document.update", "memsync.document.live", "jsonpatch"]
COLD = """
import sys
from memsync.cli import main
if sys.argv[1] == "__complete":  # it offers nothing if the host is late
    from memsync.cli import completion
    completion._PATIENCE = 20.0
assert main(sys.argv[1:]) == 0
print(" ".join(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        (["--version"], ["argparse", "memsync.errors", "msgspec", "multiprocessing"]),
        (["__complete", ""], ["argparse", "msgspec", "multiprocessing"]),
        (["get", "cold"], ["memsync.manager.driver", "watchdog", "rich", "yaml", *UNUSED]),
        (["ls"], ["memsync.manager.driver", "watchdog", "rich", "yaml", *UNUSED]),
        (["__complete", "get", "cold", ""], ["argparse", "memsync.manager.driver", "watchdog"]),
    ],
)
def test_a_quick_command_imports_little(folder: Path, words: list[str], absent: list[str]) -> None:
    with MemSync[Any]("cold", {"n": 0}):
        command = [sys.executable, "-c", COLD, *words]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    loaded = set(result.stderr.split())
    assert not loaded & set(absent)
    assert len(result.stdout) > 0
