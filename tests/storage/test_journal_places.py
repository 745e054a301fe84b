"""The journal where its place changes: removed folders, other groups, files of other objects."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.errors import WriteConcernError
from memsync.manager.folder.folder import ObjectFolder
from memsync.storage import journal
from memsync.storage.file_layer import FileLayer
from memsync.storage.journal_folder import JournalFolder
from memsync.testing import Cluster, until

from .test_journal import found_at, handle, journal_of, stated

pytestmark = pytest.mark.usefixtures("own_rendezvous")


@pytest.fixture
def folder(path: Path) -> Path:
    return path.parent / "state.json.journal"


class TestUnderARunningHost:
    @pytest.mark.parametrize("way", ["removed", "emptied", "moved", "made again"])
    def test_a_journal_that_is_gone_is_begun_at_a_save(
        self, path: Path, folder: Path, engine: str, way: str
    ) -> None:
        with handle(path, engine) as mem:
            mem.patch({"$set": {"n": 1}}, journal=True)
            match way:
                case "removed":
                    shutil.rmtree(folder)
                case "emptied":
                    for each in folder.iterdir():
                        each.unlink()
                case "moved":
                    folder.rename(path.parent / "away")
                case "made again":
                    shutil.copytree(folder, path.parent / "away")
                    shutil.rmtree(folder)
                    shutil.copytree(path.parent / "away", folder)
            for number in range(2, 5):
                mem.patch({"$set": {"n": number}}, journal=True)
                found = found_at(path)
                assert found.data == {"n": number}
                assert found.pair == (mem.epoch, mem.version)

    def test_a_file_in_its_place(
        self, path: Path, folder: Path, engine: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(journal, "RETRY", 0.01)
        with handle(path, engine) as mem:
            mem.patch({"$set": {"n": 1}}, journal=True)
            shutil.rmtree(folder)
            folder.write_text("mine")
            mem.patch({"$set": {"n": 2}}, journal=True)  # in the file
            assert found_at(path).data == {"n": 2}
            with pytest.raises(WriteConcernError):
                mem.patch({"$set": {"n": 3}}, journal=True, timeout=1)
            until(lambda: "Not a directory" in str(journal_of(mem)["error"]))
            assert folder.read_text() == "mine"
            folder.unlink()
            mem.patch({"$set": {"n": 4}}, journal=True)
            assert found_at(path).data == {"n": 4}

    def test_a_host_whose_locks_were_deleted_goes_on(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It holds its epoch again soon, and nobody else has taken a later one."""
        monkeypatch.setattr(journal, "RETRY", 0.01)
        with handle(path, network={"poll": 0.1}) as mem:
            mem.patch({"$set": {"n": 1}}, journal=True)
            still_hosts, asked = ObjectFolder.still_hosts, []

            def not_now(self: ObjectFolder, *args: Any, **more: Any) -> bool:
                if threading.current_thread().name == "memsync-journal":
                    asked.append(1)
                    return len(asked) > 3 and still_hosts(self, *args, **more)
                return still_hosts(self, *args, **more)

            monkeypatch.setattr(ObjectFolder, "still_hosts", not_now)
            mem.patch({"$set": {"n": 2}}, journal=True)
            assert len(asked) > 3
            assert found_at(path).data == {"n": 2}
            assert journal_of(mem)["error"] is None

    def test_a_descriptor_that_fails_to_close(
        self, path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(journal, "RETRY", 0.01)
        close, failed = FileLayer.close, []

        def fail(self: FileLayer, descriptor: int) -> None:
            failed.append(descriptor)
            close(self, descriptor)
            raise OSError(errno.EIO, "Input/output error")

        with handle(path, engine) as mem:
            mem.patch({"$set": {"n": 1}}, journal=True)
            with monkeypatch.context() as broken:
                broken.setattr(FileLayer, "close", fail)
                broken.setattr(FileLayer, "sync", _raise_eio)
                mem.patch({"$set": {"n": 2}})
                until(lambda: len(failed) > 0)
            mem.patch({"$set": {"n": 3}}, journal=True)
            assert found_at(path).data == {"n": 3}

    def test_a_gap_does_not_wait_for_the_usual_pause(
        self, path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The object is saved at once, whatever file.debounce is."""
        monkeypatch.setattr(journal, "RETRY", 0.01)
        monkeypatch.setattr(journal, "QUEUE_BYTES", 1000)
        with handle(path, engine) as mem:
            mem.patch({"$set": {"n": 1}}, journal=True)
            with monkeypatch.context() as broken:
                broken.setattr(FileLayer, "sync", _raise_eio)
                for number in range(200):
                    mem.patch({"$set": {"n": number}})
            mem.patch({"$set": {"n": "end"}}, journal=True)
            assert found_at(path).data == {"n": "end"}


def _raise_eio(*_: Any) -> None:
    raise OSError(errno.EIO, "Input/output error")


class TestTwoGroups:
    def test_the_earlier_one_acknowledges_nothing_more(
        self, path: Path, folder: Path, engine: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Both begin with the same file; what the earlier one writes then counts for nothing."""
        monkeypatch.setattr(journal, "RETRY", 0.01)
        with handle(path, engine) as mem:
            mem.patch({"$set": {"n": 1}}, journal=True)
            writes = [sys.executable, "-c", _OTHER, str(path), str(path.parent / "other")]
            assert subprocess.run(writes, check=True, capture_output=True).stdout == b"{'n': 2}"
            with pytest.raises(WriteConcernError):
                mem.patch({"$set": {"n": 9}}, journal=True, timeout=1)
            until(lambda: "another group writes there" in str(journal_of(mem)["error"]))
        assert found_at(path).data == {"n": 2}

    def test_of_one_epoch(self, path: Path, folder: Path, engine: str) -> None:
        with handle(path, engine) as mem:
            mem.patch({"$set": {"n": 1}}, journal=True)
            epoch = mem.epoch
        [segment] = folder.glob("*.jsonl")
        segment.rename(folder / f"{epoch + 1:010}-0001.jsonl")
        with handle(path, engine) as mem:
            assert mem.epoch == epoch + 1
            until(lambda: "another group" in str(journal_of(mem)["error"]))

    def test_a_survivor_reads_its_own_lines_only(self, path: Path, cluster: Cluster) -> None:
        host, client = cluster.peer({"n": 0}, stated(path)), cluster.peer()
        client.patch({"$set": {"n": 1}}, journal=True)
        version = client.version
        writes = [sys.executable, "-c", _OTHER, str(path), str(path.parent / "other")]
        assert subprocess.run(writes, check=True, capture_output=True).stdout == b"{'n': 2}"
        assert JournalFolder(str(path)).last_version() > version
        host.kill()
        until(lambda: client.status()["status"] == "host")
        assert client.snapshot() == {"n": 1}


_OTHER = """
import os, sys
os.environ["MEMSYNC_DIR"] = sys.argv[2]
from memsync import MemSync
file = {"path": sys.argv[1], "journal": True, "debounce": 3600}
mem = MemSync("journalled", {"n": 0}, {"file": file})
mem.start()
mem.flush()
mem.patch({"$inc": {"n": 1}}, journal=True)
sys.stdout.write(repr(mem.snapshot()))
sys.stdout.flush()
os._exit(0)
"""


def test_a_file_of_another_object_does_not_get_these_entries(
    path: Path, tmp_path: Path, engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody has put it in the place of the file, and left the journal."""
    with handle(path, engine) as mem:
        for number in range(9):
            mem.patch({"$set": {"n": number}}, journal=True)
    other = tmp_path / "other.json"
    with MemSync("other", {"m": 0}, {"file": {"path": other}, "engine": engine}) as mem:
        mem.patch({"$set": {"m": 1}})
    path.write_bytes(other.read_bytes())
    with handle(path, engine) as mem:
        assert mem.snapshot() == {"m": 1}
        mem.patch({"$set": {"m": 2}}, journal=True)
        assert found_at(path).data == {"m": 2}
    assert "another object" in caplog.text
