"""Running the command, in this process or as a program, and checking what it prints."""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from fcntl import ioctl
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator

from memsync.cli import main
from memsync.cli.schemas import SCHEMAS

PROGRAM = (sys.executable, "-m", "memsync")


class Ended(NamedTuple):
    """What a command has returned and printed."""

    status: int
    out: str
    err: str


def run(*words: str) -> Ended:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main(words)
    return Ended(status, out.getvalue(), err.getvalue())


def run_json(*words: str) -> Any:
    """What a command prints with --json: a list of the values, or the error.

    Each of them is as its schema has it.
    """
    ended = run(words[0], "--json", *words[1:])
    if ended.err:
        error = json.loads(ended.err)
        check(error, "error")
        assert error["status"] == ended.status
        return error
    values = [json.loads(line) for line in ended.out.splitlines()]
    for value in values:
        check(value, words[0])
    return values


def check(value: Any, command: str) -> None:
    """Check a value by the schema of a command's output."""
    Draft202012Validator(SCHEMAS[command]).validate(value)


@contextmanager
def default_hang_up() -> Iterator[None]:
    """What this process ignores (``nohup``), the commands that it starts would ignore as well."""
    was = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, was)


@contextmanager
def started(*words: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """The command as a program that runs; it must have ended, or is killed."""
    with default_hang_up():
        begun = subprocess.Popen(
            [*PROGRAM, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
    with begun as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def ended_by(process: subprocess.Popen[str], number: int) -> int:
    """Send a signal; returns the exit status.

    Python notes a signal that comes just before a wait in C begins only after that wait. So it is
    sent again to a process that goes on, as people press Ctrl-C again.
    """
    for _ in range(3):
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=20)
    raise AssertionError(f"process {process.pid} goes on")


@contextmanager
def on_terminal(*words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The command in a terminal of 80 x 24, and the descriptor of the terminal's other side."""
    ours, theirs = os.openpty()
    ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    program = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    program += "os.execv(sys.executable, [sys.executable, '-m', 'memsync', *sys.argv[1:]])"
    command = [sys.executable, "-c", program, *words]
    try:
        with default_hang_up():
            begun = subprocess.Popen(
                command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
            )
        with begun as process:
            try:
                yield process, ours
            finally:
                if process.poll() is None:
                    process.kill()
    finally:
        os.close(ours)
        os.close(theirs)
