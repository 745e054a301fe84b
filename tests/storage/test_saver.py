"""The thread that saves: what is saved when a program asks for it, and at the end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.errors import StorageError
from memsync.runtime.participant import Participant
from memsync.storage import saver
from memsync.storage.capture import Capture, Interrupted
from memsync.storage.file_layer import FileLayer
from memsync.testing import until

from .test_file import handle, saved


class InterruptedCaptures:
    """Captures of a copy that is replaced again and again, at first."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, participant: Participant) -> Capture:
        self.left -= 1
        if self.left >= 0:
            raise Interrupted("this copy of the object was replaced")
        return Capture(participant)


class TestTheLastSave:
    def test_a_copy_that_is_replaced_meanwhile_is_captured_again(
        self, path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with handle(path, engine, debounce=3600) as mem:
            mem.flush()
            mem.patch({"$set": {"n": 1}})
            monkeypatch.setattr(saver, "Capture", InterruptedCaptures(2))
        assert saved(path) == {"n": 1}

    def test_it_says_if_it_gives_up(
        self,
        path: Path,
        engine: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        with handle(path, engine, debounce=0.01) as mem:
            mem.flush()
            monkeypatch.setattr(saver, "Capture", InterruptedCaptures(1_000_000))
            mem.patch({"$set": {"n": 1}})
        assert "this copy of the object was replaced" in mem.get_status()["storage"]["error"]
        assert "the last changes of name=kept" in caplog.text
        assert "this copy of the object was replaced" in caplog.text

    def test_one_that_takes_too_long_is_reported(
        self,
        path: Path,
        engine: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.ERROR, logger="memsync.storage")
        options = {"file": {"path": path, "debounce": 3600}, "engine": engine, "timeout": 0.3}
        with broken_disk(monkeypatch) as disk:
            with MemSync("kept", {"n": 0}, options) as mem:
                mem.flush(timeout=20)
                disk.is_stuck = True
                mem.patch({"$set": {"n": 1}}, timeout=20)
            lines = [record.getMessage() for record in caplog.records]
            assert [line for line in lines if "are not saved within 0.3 s" in line] != []
            error = mem.get_status()["storage"]["error"]
            assert error == "the last changes are not saved within 0.3 s"
        until(lambda: not any(each.name == "memsync-saver" for each in threading.enumerate()))


class StuckDisk:
    is_stuck = False


@contextmanager
def broken_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[StuckDisk]:
    """A disk on which a sync does not return while it `is_stuck`, at most until the end."""
    disk, goes_on, sync = StuckDisk(), threading.Event(), FileLayer.sync

    def sync_or_wait(self: FileLayer, descriptor: int) -> None:
        if disk.is_stuck:
            goes_on.wait(20)
        sync(self, descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(FileLayer, "sync", sync_or_wait)
        try:
            yield disk
        finally:
            goes_on.set()


class TestFlush:
    def test_a_write_that_comes_while_the_thread_looks_is_saved(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The thread has found that nothing has changed; then come a write and a flush."""
        with handle(path, "memory", debounce=0) as mem:
            mem.flush()
            next_save, answers = saver.Saver._next_save, list[Any]()

            def write_after_look(self: saver.Saver) -> float | None:
                due = next_save(self)
                if due is None and not answers:
                    answers.append(None)
                    mem.submit({"$set": {"n": 1}})
                    self.request(lambda error: answers.append((error, saved(path))))
                return due

            monkeypatch.setattr(saver.Saver, "_next_save", write_after_look)
            mem.flush()
            until(lambda: len(answers) > 1)
            assert answers[1] == (None, {"n": 1})

    def test_a_change_that_the_thread_has_not_heard_of_is_saved(
        self, path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A program sees a change of another peer a moment before the thread hears of it."""
        with handle(path, engine, debounce=3600) as mem, MemSync("kept", engine=engine) as other:
            mem.flush()
            monkeypatch.setattr(Participant, "announce_entries", lambda self, entries: None)
            other.patch({"$set": {"n": 1}})
            until(lambda: mem.data["n"] == 1)
            mem.flush()
            assert saved(path) == {"n": 1}

    @pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_text("{}")])
    def test_a_file_that_somebody_has_changed_is_saved_again(
        self, path: Path, engine: str, change: Any
    ) -> None:
        """Though nothing has changed in the object."""
        with handle(path, engine) as mem:
            mem.flush()
            mem.flush()
            change(path)
            mem.flush()
            assert saved(path) == {"n": 0}


def test_saving_goes_on_after_an_interrupt_in_the_engine(path: Path) -> None:
    """The engine `memory` begins another epoch then, with the same host."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with handle(path, "memory", debounce=3600) as mem:
        mem.flush()
        group: Any = mem._engine._group  # type: ignore[union-attr]
        group.queue(interrupt)
        with pytest.raises(KeyboardInterrupt):
            group.drain()
        mem.patch({"$set": {"n": 1}})
        mem.flush(timeout=5)
        assert saved(path) == {"n": 1}
        mem.patch({"$set": {"n": 2}})
    assert saved(path) == {"n": 2}


class TestTwoGroups:
    """Two groups that save to one file: one of them is told, once."""

    @pytest.mark.parametrize("first", [0, 1])
    def test_those_that_began_at_one_moment_do_not_replace_each_other(
        self, path: Path, first: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        names = ["one", "two"]
        groups = [group(name, path) for name in names]
        path.unlink()  # as if both had found no file
        groups[first].patch({"$inc": {"n": 1}})
        groups[first].flush()
        refused = set()
        for _ in range(6):
            for mem in (groups[1 - first], groups[first]):
                mem.patch({"$inc": {"n": 1}})
                mem.patch({"$inc": {"n": 1}})
                try:
                    mem.flush()
                except StorageError as error:
                    assert "another group" in str(error)  # noqa: PT017
                    refused.add(mem.name)
        assert len(refused) == 1
        for mem in groups:
            mem.stop()
        assert saved(path)["name"] not in refused
        assert caplog.text.count("cannot save") == 1


def group(name: str, path: Path) -> MemSync[Any]:
    """A group whose epoch does not depend on the file."""
    if path.exists():
        path.unlink()
    options = {"file": {"path": path, "debounce": 3600}, "engine": "memory"}
    mem = MemSync(name, {"name": name, "n": 0}, options)
    mem.start()
    mem.flush()
    time.sleep(0.002)  # groups are founded at different milliseconds
    return mem
