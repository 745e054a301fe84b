"""The command line around the demo: arguments, exit statuses, what it says without the extra."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import memsync
from memsync.cli import app as app_module
from memsync.cli.app import app
from memsync.cli.pool import DemoError
from memsync.cli.report import Report, print_report
from memsync.cli.words import InputError

EQUAL = Report(files=1, counts={"a": 1}, plain={"a": 1}, changes=1)
DIFFERENT = Report(files=1, counts={"a": 1}, plain={"a": 2}, changes=1)
UNKILLED = Report(files=1, counts={"a": 1}, plain={"a": 1}, changes=0)


def outcome(run: Callable[[], Report]) -> type:
    """A demo of which every run comes to this."""

    class FakeDemo:
        def __init__(self, *_: object, **__: object) -> None:
            self.run = run

    return FakeDemo


def failing(error: BaseException) -> Callable[[], Report]:
    def run() -> Report:
        raise error

    return run


@pytest.mark.parametrize(
    ("run", "arguments", "status"),
    [
        (lambda: EQUAL, [], 0),
        (lambda: EQUAL, ["--no-kill"], 0),
        (lambda: DIFFERENT, [], 1),
        (lambda: DIFFERENT, ["--no-kill"], 1),
        (lambda: UNKILLED, [], 1),
        (lambda: UNKILLED, ["--no-kill"], 0),
        (failing(DemoError("worker 1 ended")), [], 1),
        (failing(InputError("a cannot be read")), [], 2),
        (failing(KeyboardInterrupt()), [], 130),
    ],
)
def test_exit_statuses(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[[], Report],
    arguments: list[str],
    status: int,
) -> None:
    monkeypatch.setattr(app_module, "Demo", outcome(run))
    assert CliRunner().invoke(app, ["demo", str(tmp_path), *arguments]).exit_code == status


def test_differing_words_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    shared = {f"w{n}": 1 for n in range(20)}
    plain = {**shared, "w1": 2, "extra": 1}
    del plain["w3"]
    print_report(Report(files=2, counts=shared, plain=plain, changes=1))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-4:-1] == [
        "different: extra 0 times in the shared object, 1 times in the plain count",
        "different: w1 1 times in the shared object, 2 times in the plain count",
        "different: w3 1 times in the shared object, 0 times in the plain count",
    ]
    assert lines[-1] == "equal: NO"


def test_the_last_lines(capsys: pytest.CaptureFixture[str]) -> None:
    counts = {"b": 2, "a": 2, "c": 30}
    report = Report(3, counts, dict(counts), 1, seconds_without_host=0.0123, writes_per_second=99.6)
    print_report(report)
    assert capsys.readouterr().out.splitlines() == [
        "        30 c",
        "         2 a",
        "         2 b",
        "files: 3",
        "words: 34",
        "changes of host: 1",
        "milliseconds without a host: 12",
        "writes per second: 100",
        "equal: yes",
    ]


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"{memsync.__version__}\n")


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_the_error_names_it(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; import memsync.cli; memsync.cli.main()"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 1
    assert result.stderr == f"the memsync command needs {missing}: run pip install 'memsync[cli]'\n"


def test_a_package_that_is_missing_for_another_reason_is_not_mistaken_for_the_extra() -> None:
    program = "import sys; sys.modules['memsync.peer'] = None; import memsync.cli as c; c.main()"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 1
    assert "ModuleNotFoundError" in result.stderr
