"""Ctrl-C at any moment of a command ends it with 130 and one line, also while it imports."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.cli.interrupts import importing

from .command import check, ended_by

pytestmark = [pytest.mark.process, pytest.mark.slow]

COMMAND = """
import sys
from memsync.cli import app
main = app._main
def begin(*arguments, **named):  # in the block that handles Ctrl-C
    print("begins", flush=True)
    return main(*arguments, **named)
app._main = begin
sys.exit(app.main(sys.argv[1:]))
"""


def test_ctrl_c_at_any_moment(folder: Path) -> None:
    words = ["wait", "x", '{"n": 1}', "--json"]
    with MemSync[Any]("x", {"n": 0}):
        for number in range(20):
            with subprocess.Popen(
                [sys.executable, "-c", COMMAND, *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            ) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "begins\n"
                time.sleep(number * 0.01)  # from the first import to the wait
                ended_by(process, signal.SIGINT)
                assert process.stderr is not None
                errors = process.stderr.read()
            assert process.returncode == 130, errors
            error = json.loads(errors)
            check(error, "error")
            assert error["status"] == 130


PARSING = """
import os, signal, sys
from memsync.cli import app, parser
def parse(words):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        sys.exit("not interrupted")
    finally:
        words.nargs  # argparse, too, relies on what it has not done yet
parser.parse = parse
sys.exit(app.main(sys.argv[1:]))
"""


def test_ctrl_c_while_the_words_are_parsed() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PARSING, "ls"], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (130, "memsync: interrupted\n")


def test_the_handler_of_a_program_stays() -> None:
    before = signal.getsignal(signal.SIGINT)
    with importing():
        pass
    assert signal.getsignal(signal.SIGINT) is before
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with importing():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
