"""The command line: arguments, exit statuses, and what works without the packages of the extra."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import memsync
from memsync.cli import main
from memsync.cli.demo import run as run_module
from memsync.cli.demo.run import DemoError


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
