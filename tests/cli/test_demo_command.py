"""``memsync demo`` as a user runs it: real processes, a real kill, what it prints and returns."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sysconfig
from pathlib import Path

import pytest
from demo_runs import (
    COMMAND,
    NASTY_FILES,
    joined_workers,
    make_large_tree,
    make_nasty_tree,
    run_demo,
    started_demo,
)

pytestmark = pytest.mark.process


@pytest.mark.parametrize("workers", [2, 5])
def test_the_host_is_killed_and_every_word_still_counts_once(tmp_path: Path, workers: int) -> None:
    words = make_nasty_tree(tmp_path)
    run = run_demo(tmp_path, "--workers", workers)
    assert run.status == 0, run.stdout + run.stderr
    assert run.stderr == ""
    assert run.figures["files"] == str(NASTY_FILES)
    assert run.figures["words"] == str(words.total())
    assert run.figures["changes of host"] == "1"
    assert 0 < int(run.figures["milliseconds without a host"]) < 10_000
    assert int(run.figures["writes per second"]) > 0
    assert run.figures["equal"] == "yes"
    ranked = sorted(words.items(), key=lambda item: (-item[1], item[0]))
    assert list(run.top.items()) == ranked[:10]


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("files", [1, 2, 3])
def test_the_host_is_killed_however_few_files_there_are(
    tmp_path: Path, files: int, workers: int
) -> None:
    for number in range(files):
        (tmp_path / f"{number}.txt").write_text("word " * 3)
    run = run_demo(tmp_path, "--workers", workers)
    assert run.status == 0, run.stdout + run.stderr
    assert run.top == {"word": 3 * files}
    assert run.figures["files"] == str(files)
    assert run.figures["changes of host"] == "1"


@pytest.mark.parametrize("workers", [1, 3])
def test_without_a_kill_the_host_stays(tmp_path: Path, workers: int) -> None:
    words = make_nasty_tree(tmp_path)
    run = run_demo(tmp_path, "--workers", workers, "--no-kill")
    assert run.status == 0, run.stdout + run.stderr
    assert run.figures["words"] == str(words.total())
    assert run.figures["changes of host"] == "0"
    assert run.figures["milliseconds without a host"] == "0"
    assert run.figures["equal"] == "yes"


def test_a_single_file_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("Größe größe")
    run = run_demo(path)
    assert run.status == 0, run.stdout + run.stderr
    assert run.top == {"größe": 2}
    assert run.figures["files"] == "1"


@pytest.mark.parametrize(("arguments", "status"), [((), 1), (("--no-kill",), 0)])
def test_without_a_text_file_nothing_can_be_killed(
    tmp_path: Path, arguments: tuple[str, ...], status: int
) -> None:
    (tmp_path / "binary").write_bytes(b"\0")
    run = run_demo(tmp_path, *arguments)
    assert run.status == status
    assert "there is no text file" in run.stdout
    assert run.figures["files"] == "0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "missing does not exist"),
        (["/dev/null"], "/dev/null is neither a file nor a folder"),
        ([".", "--workers", "0"], "'--workers'"),
        ([".", "--workers", "some"], "'--workers'"),
        ([".", "--workers", "1"], "--no-kill"),
        ([".", "--wrokers", "1"], "--wrokers"),
    ],
)
def test_bad_input_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run = run_demo(*arguments)
    assert run.status == 2
    assert message in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stdout == ""


def test_a_folder_that_others_can_open_is_no_place_to_meet(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "a.txt").write_text("word")
    folder.chmod(0o755)
    run = run_demo(tmp_path)
    assert run.status == 1
    assert "chmod 700" in run.stderr
    assert "Traceback" not in run.stderr


def test_it_leaves_nothing_in_the_folder_but_the_key(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "a.txt").write_text("word")
    assert run_demo(tmp_path).status == 0
    assert [path.name for path in folder.iterdir()] == ["authkey"]


def test_ctrl_c_ends_all_processes(tmp_path: Path) -> None:
    make_large_tree(tmp_path)
    with started_demo(tmp_path, "--workers", 2, "--verbose") as process:
        joined_workers(process, 2)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr.endswith("memsync: interrupted\n")
    assert "Traceback" not in stderr
    assert stdout == ""


def test_a_worker_that_dies_by_itself_ends_the_run(tmp_path: Path) -> None:
    make_large_tree(tmp_path)
    with started_demo(tmp_path, "--workers", 3, "--verbose") as process:
        victim = joined_workers(process, 3)[1]
        os.kill(victim, signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"worker process {victim} ended by itself, killed by SIGKILL" in stderr
    assert stdout == ""


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    make_large_tree(tmp_path)
    with started_demo(tmp_path, "--workers", 2, "--verbose") as process:
        joined_workers(process, 2)
        process.kill()
        process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL


def test_on_a_terminal_the_progress_is_shown(tmp_path: Path) -> None:
    make_nasty_tree(tmp_path)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [COMMAND, "demo", str(tmp_path)], stdin=subprocess.DEVNULL, stdout=theirs
    ) as process:
        os.close(theirs)
        output = _read_all(ours)
    assert process.returncode == 0, output
    assert f"{NASTY_FILES} of {NASTY_FILES} files" in output
    assert "epoch 2" in output
    assert "killed" in output
    assert "\nequal: yes\n" in output.replace("\r\n", "\n")


def _read_all(descriptor: int) -> str:
    """What comes from a terminal until its other end is closed, which Linux reports as an error."""
    chunks = []
    try:
        while chunk := os.read(descriptor, 65536):
            chunks.append(chunk)
    except OSError:
        assert chunks
    finally:
        os.close(descriptor)
    return b"".join(chunks).decode()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_standard_library() -> None:
    run = run_demo(timeout=280)
    assert run.status == 0, run.stdout + run.stderr
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [p for p in root.rglob("*.py") if "site-packages" not in p.relative_to(root).parts]
    texts = [p for p in files if b"\0" not in p.read_bytes()[:8192]]
    assert run.figures["files"] == str(len(texts))
    assert len(texts) > 500
    # One is killed, and its successors are busy themselves: they may hand over.
    assert int(run.figures["changes of host"]) >= 1
    assert run.figures["equal"] == "yes"
