"""``memsync lock``: the program, its exit status, its signals, and who else gets the lock."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.cli.commands.lock import _Program
from memsync.testing import Cluster, until

from .command import PROGRAM, ended_by, on_terminal, run, run_json, started

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.usefixtures("helpers")]

NAME = "locked"


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -KILL $$", 128 + signal.SIGKILL),
        ("kill -TERM $$", 128 + signal.SIGTERM),
        ("kill -INT $$", 128 + signal.SIGINT),
        ("kill -PIPE $$", 128 + signal.SIGPIPE),
    ],
)
def test_the_status_is_that_of_the_program(mem: MemSync[Any], script: str, status: int) -> None:
    with started("lock", NAME, "l", "--", "sh", "-c", script) as process:
        assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == status
    until(lambda: not mem.locks(), 10, "the lock is held")


@pytest.mark.parametrize(
    ("words", "status", "error"),
    [
        (["--", "/none/such"], 127, "cannot be run: No such file"),
        (["--", "/"], 126, "cannot be run: Permission denied"),
        (["--"], 2, "the program is missing"),
        ([], 2, "the program is missing"),
    ],
)
def test_a_program_that_cannot_run(
    mem: MemSync[Any], words: list[str], status: int, error: str
) -> None:
    ended = run("lock", NAME, "l", *words)
    assert (ended.status, ended.out) == (status, "")
    assert error in ended.err
    assert run_json("lock", NAME, "l", *words)["status"] == status


def test_options_of_the_program_are_its_own(mem: MemSync[Any]) -> None:
    words = ["lock", NAME, "l", "--timeout", "5", "--", "sh", "-c", 'echo "$@"', "-"]
    with started(*words, "--json", "--", "-x", "--timeout") as process:
        assert process.communicate(timeout=20) == ("--json -- -x --timeout\n", "")
    assert process.returncode == 0


def test_the_program_gets_the_token_and_the_lock_is_held(mem: MemSync[Any]) -> None:
    script = "echo $MEMSYNC_LOCK_TOKEN; exec sleep 60"
    with started("lock", NAME, "l", "--", "sh", "-c", script) as process:
        assert process.stdout is not None
        token = int(process.stdout.readline())
        [holder] = mem.locks()["l"]["holders"]
        assert (holder["token"], holder["pid"]) == (token, process.pid)
        process.terminate()
        assert process.wait(timeout=20) == 128 + signal.SIGTERM
    until(lambda: not mem.locks(), 10, "the lock is held")


def test_a_lock_that_is_not_free_in_time(mem: MemSync[Any]) -> None:
    with mem.lock("l"):
        ended = run("lock", NAME, "l", "--timeout", "0.1", "--", "true")
        assert ended.status == 124
        assert f"process {os.getpid()}" in ended.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
def test_signals_are_passed_on(mem: MemSync[Any], number: signal.Signals) -> None:
    # In a session of its own there is no terminal that sends Ctrl-C to both.
    script = "import signal, sys, time\n"
    script += f"signal.signal({int(number)}, lambda *_: sys.exit(40 + {int(number)}))\n"
    script += "print('ready', flush=True)\nwhile True: time.sleep(0.01)"
    words = ["lock", NAME, "l", "--", sys.executable, "-c", script]
    with started(*words, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(timeout=20) == 40 + number
    until(lambda: not mem.locks(), 10, "the lock is held")


def test_ctrl_c_at_a_terminal_reaches_the_program_once(mem: MemSync[Any]) -> None:
    script = "import signal, sys, time\ncount = 0\n"
    script += "def note(*_):\n  global count\n  count += 1\n"
    script += "signal.signal(signal.SIGINT, note)\nprint('ready', flush=True)\n"
    script += "while not count: time.sleep(0.01)\ntime.sleep(0.3)\nsys.exit(50 + count)"
    words = ["lock", NAME, "l", "--", sys.executable, "-c", script]
    with on_terminal(*words) as (process, terminal):
        text = b""
        while b"ready" not in text:
            text += os.read(terminal, 100)
        os.write(terminal, b"\x03")
        assert process.wait(timeout=20) == 51


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_a_signal_ends_the_wait_for_the_host_after_the_program(
    cluster: Cluster, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    host, goes_on = cluster.peer(), tmp_path / "go"
    script = f"echo in; until test -e {goes_on}; do sleep 0.05; done"
    with started("lock", cluster.name, "l", "--", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        host.pause()
        goes_on.touch()
        until(lambda: not passes_signals_on(process.pid), 20, "it passes signals on")
        assert ended_by(process, number) == status
        host.resume()


def passes_signals_on(pid: int) -> bool:
    """Whether it catches SIGQUIT, the last one for which it puts back what was before."""
    [mask] = re.findall(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(mask, 16) >> (signal.SIGQUIT - 1) & 1)


def test_ctrl_c_while_waiting_for_the_lock(mem: MemSync[Any]) -> None:
    with mem.lock("l"):
        with started("lock", NAME, "l", "--", "true") as process:
            until(lambda: mem.locks()["l"]["queue"], 20, "it does not wait")
            assert ended_by(process, signal.SIGINT) == 130
        until(lambda: not mem.locks()["l"]["queue"], 10, "it still waits")


def test_the_lock_is_free_when_the_command_is_killed(mem: MemSync[Any]) -> None:
    with started("lock", NAME, "l", "--", "sh", "-c", "echo $$; exec sleep 100") as process:
        assert process.stdout is not None
        program = int(process.stdout.readline())
        process.kill()
        try:
            with mem.lock("l", timeout=20):
                os.kill(program, 0)  # it goes on
        finally:
            os.kill(program, signal.SIGKILL)


def test_one_program_runs_at_a_time(mem: MemSync[Any], tmp_path: Path) -> None:
    script = f"test ! -e {tmp_path}/in && touch {tmp_path}/in && sleep 0.05 && rm {tmp_path}/in"
    words = ["lock", NAME, "l", "--", "sh", "-c", script]
    with started(*words) as a, started(*words) as b, started(*words) as c:
        assert [each.wait(timeout=30) for each in (a, b, c)] == [0, 0, 0]


def test_a_lost_lock_ends_the_program(mem: MemSync[Any]) -> None:
    words = ["lock", NAME, "l", "--lease", "3", "--", "sh", "-c", "echo ready; exec sleep 60"]
    with started(*words) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGSTOP)
        until(lambda: not mem.locks(), 20, "it keeps the lock")
        process.send_signal(signal.SIGCONT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 4
    assert "was lost" in errors


def test_a_lock_that_is_lost_before_the_program_begins_ends_it() -> None:
    program = _Program()
    program.end()
    assert program.run(["sleep", "20"], dict(os.environ)) == -signal.SIGTERM


@pytest.mark.parametrize("name", ["HUP", "INT"])
def test_an_ignored_signal_stays_ignored(mem: MemSync[Any], name: str) -> None:
    script = f"trap '' {name}; exec \"$@\""
    program = ["lock", NAME, "l", "--", "sh", "-c", f"kill -{name} $PPID $$; echo goes on"]
    ended = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *PROGRAM, *program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "goes on\n")
