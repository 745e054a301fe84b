"""Command lines, descriptors and signals that a shell can give the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync

from .command import PROGRAM, Ended, on_terminal, run, run_json


def echo(*args: Any, **named: Any) -> list[Any]:
    return [list(args), named]


@pytest.fixture
def shop(folder: Path) -> Iterator[MemSync[Any]]:
    data = {"state": "open", "items": [1, 2], "日本": "🍵"}
    with MemSync("shop", data, {"timeout": 20}, rpc={"echo": echo}) as mem:
        yield mem


def in_shell(redirected: str, *words: str, **environ: str) -> Ended:
    """Run the command in a shell that redirects some of its descriptors."""
    script = f'exec "$@" {redirected}'
    environment = {**os.environ, "PYTHONUNBUFFERED": "", **environ}
    ended = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *PROGRAM, *words],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("get shop --raw state", "open"),
        ("get shop -r --timeout 9 state", "open"),
        ("call shop echo --set b=pot tea 1", [["tea", 1], {"b": "pot"}]),
        ("call shop echo --timeout 9 -1 2", [[-1, 2], {}]),
        ("call shop --timeout 9 echo --json", [[], {}]),
        ("call shop echo --timeout 9 -- -x --json", [["-x", "--json"], {}]),
    ],
)
def test_options_may_stand_anywhere(shop: MemSync[Any], words: str, value: Any) -> None:
    ended = run(*words.split())
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.rstrip("\n") in (value, json.dumps(value, separators=(",", ":")))


def test_an_option_has_one_spelling(shop: MemSync[Any]) -> None:
    assert run("get", "shop", "--js").status == 2
    assert run("get", "shop", "--time", "3").status == 2


@pytest.mark.parametrize("words", ["get nope", "get shop --nope", "watch shop --timeout 0"])
@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
def test_errors_without_an_error_output(shop: MemSync[Any], words: str, redirected: str) -> None:
    ended = in_shell(redirected, *words.split())
    assert ended == (run(*words.split()).status, "", "")


@pytest.mark.parametrize(
    "words",
    [
        "--version",
        "--help",
        "get --help",
        "get shop",
        "ls",
        "call shop echo 1",
        "watch shop --initial --timeout 0",
    ],
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_that_cannot_be_written(shop: MemSync[Any], words: str, unbuffered: str) -> None:
    ended = in_shell(">/dev/full", *words.split(), PYTHONUNBUFFERED=unbuffered)
    assert ended == (4, "", "memsync: [Errno 28] No space left on device\n")


@pytest.mark.parametrize("words", ["--version", "--help", "get --help", "get shop", "ls"])
def test_a_closed_output_is_no_error(shop: MemSync[Any], words: str) -> None:
    assert in_shell(">&-", *words.split()) == (0, "", "")


@pytest.mark.parametrize("words", ["--version", "--help", "get --help", "get shop"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_help_and_values_for_a_closed_pipe(shop: MemSync[Any], words: str, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # before the command begins
    try:
        ended = subprocess.run(
            [*PROGRAM, *words.split()],
            stdout=writer,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_a_closed_input(shop: MemSync[Any]) -> None:
    ended = in_shell("<&-", "patch", "shop", "-")
    assert (ended.status, ended.out) == (2, "")
    assert "the input is closed" in ended.err
    ended = in_shell("<&- | head -n 1", "top", "shop", "--interval", "0.1")
    assert (ended.status, ended.err) == (0, "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_json_stays_json_in_any_encoding(shop: MemSync[Any], encoding: str) -> None:
    ended = in_shell("", "get", "shop", "--json", PYTHONIOENCODING=encoding)
    assert json.loads(ended.out)["value"] == shop.snapshot()
    ended = in_shell("", "get", "shop", "日本語", "--json", PYTHONIOENCODING=encoding)
    assert "日本語" in json.loads(ended.err)["message"]


@pytest.mark.parametrize("path", ["items." + "9" * 5000, "items.²", "items.-1"])
def test_an_index_that_no_list_has(shop: MemSync[Any], path: str) -> None:
    assert run_json("get", "shop", path)["status"] == 1
    assert shop.snapshot(path) is None
    shop.observe(path, print, immediate=True).cancel()


def test_since_is_a_version(shop: MemSync[Any]) -> None:
    error = run_json("watch", "shop", "--since", "-1")
    assert (error["status"], error["error"]) == (2, "ERR_USAGE")


def test_a_program_without_a_name(shop: MemSync[Any]) -> None:
    assert run_json("lock", "shop", "lock", "--", "")["status"] == 2


def test_a_command_of_exec_that_fails_is_no_error_of_json(shop: MemSync[Any]) -> None:
    words = ("watch", "shop", "日本", "--initial", "--timeout", "0", "--exec", "cat; exit 3")
    ended = in_shell("", *words, PYTHONIOENCODING="ascii")
    assert json.loads(ended.out)["value"] == "🍵"
    assert ended.err == "memsync: 'cat; exit 3' ended with status 3\n"
    assert in_shell("", *words, "--json").err == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_as_it_was(shop: MemSync[Any], number: signal.Signals) -> None:
    before = attributes_of_a_new_terminal()
    with on_terminal("top", "shop") as (process, terminal):
        text = b""
        while b"LAST WRITES" not in text:
            text += os.read(terminal, 1 << 12)
        assert termios.tcgetattr(terminal) != before
        process.send_signal(number)
        assert process.wait(timeout=20) == -number
        assert termios.tcgetattr(terminal) == before
        while b"\x1b[?25h\x1b[?1049l" not in text:
            text += os.read(terminal, 1 << 12)


def attributes_of_a_new_terminal() -> list[Any]:
    ours, theirs = os.openpty()
    try:
        return termios.tcgetattr(ours)
    finally:
        os.close(ours)
        os.close(theirs)
