"""Completion: what it offers, that it changes nothing, and the scripts in real shells."""

from __future__ import annotations

import os
import select
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.cli import completion
from memsync.cli.completion import SCRIPTS
from memsync.cli.table import COMMANDS
from memsync.testing import until

from .command import run, run_json

pytestmark = pytest.mark.process

NAME = "completed"
# The completion offers nothing if the host is late; here it waits.
PATIENT = "import sys; from memsync.cli import completion, main; completion._PATIENCE = 20.0; "
PATIENT += "sys.exit(main(sys.argv[1:]))"
FUNCTION = f'memsync() {{ {shlex.join((sys.executable, "-c", PATIENT))} "$@"; }}'


@pytest.fixture
def mem(folder: Path) -> Iterator[MemSync[Any]]:
    data = {"alpha": {"one": 1, "two": 2}, "list": ["x", "y"], "beta": 0, "odd name": 1}
    with MemSync[Any](NAME, data, rpc={"sums": {"add": len}, "sub": len}) as mem:
        mem.rpc.publish("square", len)
        yield mem


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, too, the completion waits for the host."""
    monkeypatch.setattr(completion, "_PATIENCE", 20.0)


def offered(*words: str) -> list[str]:
    return run("__complete", *words).out.splitlines()


def printed_by_bash(script: str, folder: Path) -> list[str]:
    """The lines that a script prints which uses the completion."""
    command = ["bash", "-c", f"{FUNCTION}\n{SCRIPTS['bash']}\n{script}"]
    ended = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    return ended.stdout.splitlines()


def test_commands_and_options() -> None:
    assert offered("") == list(COMMANDS)
    assert offered("w") == ["watch", "wait"]
    assert offered("get", "x", "--r") == ["--raw"]
    assert offered("--v") == ["--version"]
    assert offered("completion", "") == ["bash", "zsh", "fish"]
    assert offered("none", "") == []
    assert offered("schema", "wai") == ["wait"]


def test_what_a_group_has(mem: MemSync[Any]) -> None:
    with MemSync[Any]("comp-2"), mem.lock("reindex"):
        assert offered("get", "") == ["comp-2", NAME]
        assert offered("get", "comple") == [NAME]
        assert offered("get", NAME, "") == ["alpha", "list", "beta", "odd name"]
        assert offered("watch", NAME, "al") == ["alpha"]
        assert offered("watch", "--since", "7", NAME, "al") == ["alpha"]
        assert offered("get", NAME, "alpha.") == ["alpha.one", "alpha.two"]
        assert offered("get", NAME, "list.") == ["list.0", "list.1"]
        assert offered("get", NAME, "beta.") == []
        assert offered("get", NAME, "a", "") == []
        assert offered("call", NAME, "su") == ["sub", "sums.add"]
        assert offered("call", NAME, "sq") == ["square"]
        assert offered("call", NAME, "sub", "--peer", "") == [mem.id]
        assert offered("lock", NAME, "") == ["reindex"]
        assert offered("lock", NAME, "reindex", "--", "") == []


def test_files(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").touch()
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "a.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert sorted(offered("host", "x", "--config", "c")) == ["config.yaml", "configs/"]
    assert offered("host", "x", "--config", "configs/") == ["configs/a.yaml"]
    assert offered("host", "x", "--config", f"{tmp_path}/configs/a") == [
        f"{tmp_path}/configs/a.yaml"
    ]


def test_nothing_is_founded_or_changed(mem: MemSync[Any], folder: Path) -> None:
    before, version = sorted(folder.rglob("*")), mem.version
    for words in (["get", ""], ["get", NAME, ""], ["get", "none", ""], ["call", NAME, ""]):
        offered(*words)
    assert (sorted(folder.rglob("*")), mem.version) == (before, version)


def test_errors_are_silent(folder: Path) -> None:
    folder.chmod(0o755)
    ended = run("__complete", "get", "")
    assert (ended.out, ended.err) == ("", "")
    folder.chmod(0o700)


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_scripts_are_valid(shell: str) -> None:
    assert run("completion", shell).out == SCRIPTS[shell]
    assert run_json("completion", shell) == [{"script": SCRIPTS[shell]}]
    if shutil.which(shell):
        command = [shell, "-n"] if shell != "fish" else [shell, "--no-execute"]
        subprocess.run(command, input=SCRIPTS[shell], text=True, check=True, timeout=20)


def test_bash_completes(mem: MemSync[Any], tmp_path: Path) -> None:
    script = ""
    for words in (
        ["memsync", "ge"],
        ["memsync", "get", NAME, "alpha.t"],
        ["memsync", "call", NAME, "su"],
        ["memsync", "get", NAME, "odd"],
    ):
        listed = " ".join(words)
        script += f"COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}; "
        script += f"COMP_LINE='{listed}'; _memsync\n"
        script += 'echo "${COMPREPLY[*]}"\n'
    expected = ["get", "alpha.two", "sub sums.add", "odd\\ name"]
    assert printed_by_bash(script, tmp_path) == expected


@contextmanager
def interactive_bash(folder: Path) -> Iterator[Callable[[str], str]]:
    """A bash on a terminal that completes: it gets keys, and shows something up to a prompt."""
    start, prompt = folder / "start", "ready> "
    start.write_text(f'{FUNCTION}\n{SCRIPTS["bash"]}PS1="{prompt}"\n')
    ours, theirs = os.openpty()

    def shows(keys: str) -> str:
        os.write(ours, keys.encode())
        shown = bytearray()

        def is_ready() -> bool:
            while select.select([ours], [], [], 0)[0]:
                shown.extend(os.read(ours, 1 << 16))
            return shown.endswith(prompt.encode())

        until(is_ready, 20, lambda: f"no prompt in {shown.decode()}")
        return shown.decode()

    command = ["bash", "--noprofile", "--rcfile", str(start), "-i"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        try:
            shows("")
            yield shows
        finally:
            process.kill()
            os.close(ours)
            os.close(theirs)


def test_bash_completes_what_it_splits_at_colons(folder: Path, tmp_path: Path) -> None:
    inner = {"x:one": "in-1", "x:two": "in-2"}
    data = {"geo:lat": "out-1", "geo:lon": "out-2", "a::b": inner, "k=v": "out-3", ":c": "out-4"}
    with MemSync[Any](NAME, data), interactive_bash(tmp_path) as shows:
        for keys, value in (
            ("geo:la\t", "out-1"),
            ("geo:\to\t", "out-2"),  # the first one adds the l of both
            ("a::b.x:t\t", "in-2"),
            ("a::b.x:o\t", "in-1"),
            ("k=\t", "out-3"),
            (":\t", "out-4"),
            ("geo:la\t --json", '"value":"out-1"'),
        ):
            assert value in shows(f"memsync get {NAME} {keys}\n")


def test_only_what_is_a_path_is_offered(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "x1").touch()
    data = {"x*": 1, "two\nlines": 2, "a.b": 3, "": 4, "x\x1b[2J": 5, "日本": 6}
    with MemSync[Any](NAME, data):
        assert offered("get", NAME, "") == ["x*", "日本"]
        script = f"COMP_WORDS=(memsync get {NAME} x); COMP_CWORD=3; "
        script += f"COMP_LINE='memsync get {NAME} x'; _memsync; echo \"$COMPREPLY\""
        assert printed_by_bash(script, tmp_path) == ["x\\*"]  # not the file x1
