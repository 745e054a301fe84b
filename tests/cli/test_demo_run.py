"""What happens inside a run of the demo: the kill, the file claimed again, and each way to fail."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from demo_runs import LARGE_FILES, NASTY_FILES, make_large_tree, make_nasty_tree
from lasting import start_helpers

from memsync import MemSync
from memsync.cli import demo as demo_module
from memsync.cli.demo import Demo, Progress
from memsync.cli.demo_worker import Worker, shared_object
from memsync.cli.pool import DemoError, Pool
from memsync.cli.words import InputError, field_for, text_files
from memsync.errors import ConditionError, MemSyncError

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True, scope="module")
def _helpers() -> None:
    """The process that multiprocessing keeps for itself is not to look like a leak."""
    start_helpers()


def make_demo(
    root: Path, show: Callable[[Progress], Any] = lambda _: None, *, kill: bool = True
) -> Demo:
    return Demo(text_files(root), 3, kill=kill, verbose=False, show=show)


def once(action: Callable[[Progress], Any]) -> Callable[[Progress], Any]:
    """The action, at the first progress that names all three workers."""
    calls: list[Progress] = []

    def show(progress: Progress) -> None:
        if len(progress.done_by) == 3 and not calls:
            calls.append(progress)
            action(progress)

    return show


def test_the_whole_table_is_right(tmp_path: Path) -> None:
    words = make_nasty_tree(tmp_path)
    report = make_demo(tmp_path).run()
    assert report.counts == {field_for(word): number for word, number in words.items()}
    assert report.equal
    assert (report.files, report.changes) == (NASTY_FILES, 1)


def test_the_host_dies_with_a_file_in_hand_which_is_claimed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_nasty_tree(tmp_path)
    shown: list[Progress] = []
    demo = make_demo(tmp_path, shown.append)
    in_hand: list[tuple[str, int]] = []
    kill = Pool.kill

    def spy(pool: Pool, pid: int) -> float:
        host = demo._mem.get_status()["host"]
        assert host["pid"] == pid
        held = [file["path"] for file in demo._mem.data["files"] if file["state"] == host["id"]]
        in_hand.extend((path, demo._mem.data["done"]) for path in held)
        return kill(pool, pid)

    monkeypatch.setattr(Pool, "kill", spy)
    report = demo.run()
    ((_, done_before),) = in_hand
    assert NASTY_FILES // 2 <= done_before < NASTY_FILES
    last = shown[-1]
    assert last.done == sum(last.done_by.values()) == report.files == NASTY_FILES
    assert last.killed is not None
    assert last.killed != last.host
    assert last.epoch == 2
    assert report.equal


def test_a_worker_that_dies_ends_the_run_at_once(tmp_path: Path) -> None:
    make_large_tree(tmp_path)
    kill_one = once(lambda p: os.kill(int(next(iter(p.done_by))), signal.SIGKILL))
    shown: list[Progress] = []

    def show(progress: Progress) -> None:
        shown.append(progress)
        kill_one(progress)

    with pytest.raises(DemoError, match="ended by itself, killed by SIGKILL"):
        make_demo(tmp_path, show, kill=False).run()
    assert shown[-1].done < LARGE_FILES


def test_a_standstill_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_large_tree(tmp_path)

    def freeze_all(progress: Progress) -> None:
        if progress.done:
            for pid in progress.done_by:
                os.kill(int(pid), signal.SIGSTOP)
            monkeypatch.setattr(demo_module, "STANDSTILL", 0.5)

    with pytest.raises(DemoError, match=r"nothing has changed for 0\.5 s"):
        make_demo(tmp_path, freeze_all, kill=False).run()


def test_a_file_that_goes_away_is_named(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("word")

    demo = make_demo(tmp_path)
    (tmp_path / "b.txt").unlink()
    with pytest.raises(InputError, match=r"b\.txt cannot be read: No such file"):
        demo.run()


def test_a_file_that_changes_makes_the_tables_differ(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("word")

    def add_word(progress: Progress) -> None:
        if progress.done == 1:
            path.write_text("word more")

    report = make_demo(tmp_path, add_word).run()
    assert not report.equal
    assert (report.counts, report.plain) == ({"word": 1}, {"word": 1, "more": 1})


def test_an_interrupt_ends_the_workers(tmp_path: Path) -> None:
    make_nasty_tree(tmp_path)

    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_demo(tmp_path, once(interrupt)).run()


def test_ctrl_c_is_for_the_parent_alone(tmp_path: Path) -> None:
    make_nasty_tree(tmp_path)

    def interrupt_workers(progress: Progress) -> None:
        for pid in progress.done_by:
            os.kill(int(pid), signal.SIGINT)

    assert make_demo(tmp_path, once(interrupt_workers)).run().equal


def test_counts_of_a_file_that_another_worker_has_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("word")
    with MemSync("guarded", shared_object(text_files(tmp_path))) as mem:
        mem.patch({"$set": {"files.0.state": "another"}})
        before = mem.snapshot()
        with pytest.raises(ConditionError):
            Worker(mem, first=0).count(0)
        assert mem.snapshot() == before


def test_only_a_worker_is_killed() -> None:
    with Pool() as pool, pytest.raises(DemoError, match="none of the workers"):
        pool.kill(os.getpid())


def test_an_error_of_the_group_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("word")
    monkeypatch.setenv("MEMSYNC_DIR", str(tmp_path / "a.txt"))
    with pytest.raises(DemoError, match="the group failed") as caught:
        make_demo(tmp_path).run()
    assert isinstance(caught.value.__cause__, MemSyncError)
