"""docs/cli.md: each command of the page runs in a shell and prints what the page shows.

Process ids, ids of peers, tokens, versions above 12 and times differ from run to run, as does the
folder. They are compared by their form.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from memsync.cli import exits
from memsync.cli.table import COMMANDS
from memsync.testing import until

from .command import run

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("helpers")]

# `memsync ls` shows a host that is late as one that does not answer; here it waits.
PATIENT = "import sys; from memsync.cli import main; from memsync.cli.commands import ls; "
PATIENT += "ls._PATIENCE = 20.0; sys.exit(main(sys.argv[1:]))"
PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
PARTS = PAGE.partition("\n## host\n")[::2]  # each takes some thirty processes, one by one
LARGEST = 12  # a number up to here is compared as it is


def examples(page: str = PAGE) -> list[tuple[str, str]]:
    """The commands of the page, or of a part, each with what it prints."""
    blocks = re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    parts = re.split(r"^\$ (.*)\n", "".join(blocks), flags=re.MULTILINE)
    assert parts[0] == ""
    return list(zip(parts[1::2], parts[2::2], strict=True))


def form(text: str) -> list[str]:
    """The lines of a text, with marks for what differs from run to run."""
    text = re.sub(r"\b[0-9a-f]{8}([0-9a-f]{8})?\b", "ID", text)
    text = re.sub(r"\b\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    text = re.sub(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME", text)
    text = re.sub(r"/tmp/[\w-]+", "FOLDER", text)
    text = re.sub(r"\b\d+:\d\d:\d\d\b|\b(\d+[dhms]){1,2}\b|\b\d+\.\d+ m?s\b", "TIME", text)
    text = re.sub(r"\b\d requests? waits?\b", "QUEUE", text)
    text = re.sub(r"\b\d+\b", lambda m: m[0] if int(m[0]) <= LARGEST else "NUMBER", text)
    return [re.sub(r" +", " ", line).rstrip() for line in text.splitlines()]


@contextmanager
def shop(folder: Path) -> Iterator[None]:
    """The program of the page, running."""
    [program] = re.findall(r"^```py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        try:
            until(lambda: run("get", "shop").status == 0, 20, "the program does not start")
            yield
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", PARTS, ids=["before host", "from host on"])
def test_the_page_shows_what_the_commands_print(folder: Path, tmp_path: Path, part: str) -> None:
    wrapper = tmp_path / "bin" / "memsync"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{PATIENT}" "$@"\n')
    wrapper.chmod(0o755)
    path = f"{wrapper.parent}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "MEMSYNC_DIR": str(folder), "NO_COLOR": "1"}
    script = "".join(
        f"echo '$ {n}'; {{ {line}\n}} 2>&1\n" for n, (line, _) in enumerate(examples(part))
    )
    with shop(folder):
        result = subprocess.run(
            ["bash", "-c", script],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environ,
            timeout=240,
            check=False,
        )
    printed = re.split(r"^\$ \d+\n", result.stdout, flags=re.MULTILINE)[1:]
    assert result.stderr == ""
    assert len(printed) == len(examples(part))
    for (line, shown), found in zip(examples(part), printed, strict=True):
        assert form(found) == form(shown), line


def test_each_command_has_an_example_and_each_status_a_row() -> None:
    lines = "\n".join(line for line, _ in examples())
    for name in COMMANDS:
        assert f"memsync {name}" in lines, name
    statuses = set(map(int, re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)))
    assert statuses == {
        *(exits.OK, exits.NEGATIVE, exits.USAGE, exits.NO_OBJECT, exits.REFUSED),
        *(exits.TIMED_OUT, exits.INTERRUPTED),
    }
