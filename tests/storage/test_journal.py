"""The journal beside the file: what it acknowledges, what it brings back, and what goes wrong."""

from __future__ import annotations

import errno
import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync
from memsync.errors import OptionsError, StorageError, UsageError, WriteConcernError
from memsync.storage import host_storage, journal
from memsync.storage.file_layer import FileLayer
from memsync.storage.journal_folder import JournalFolder
from memsync.storage.loading import with_journal
from memsync.storage.snapshot_file import NOTHING, SavedObject, parse
from memsync.testing import Cluster, until

from .campaigns.everybody import play

pytestmark = pytest.mark.usefixtures("own_rendezvous")

NEVER = 3600  # seconds until the object is saved after a change


def stated(path: Path, **file: Any) -> dict[str, Any]:
    return {"file": {"path": str(path), "journal": True, "debounce": NEVER, **file}}


def handle(path: Path, engine: str = "local", **more: Any) -> MemSync[Any]:
    return MemSync("journalled", {"n": 0}, {**stated(path), "engine": engine, **more})


def found_at(path: Path) -> SavedObject:
    """What a start finds."""
    if not path.exists():
        return NOTHING
    return with_journal(parse(path.read_bytes(), str(path)), str(path))


def journal_of(mem: MemSync[Any]) -> dict[str, Any]:
    facts: dict[str, Any] = mem.get_status()["storage"]["journal"]
    return facts


class TestAWrite:
    def test_it_is_on_the_disk_when_it_is_acknowledged(self, path: Path, engine: str) -> None:
        with handle(path, engine) as mem:
            for number in range(1, 6):
                mem.patch({"$set": {"n": number}}, journal=True)
                found = found_at(path)
                assert found.data == {"n": number}
                assert found.pair == (mem.epoch, mem.version)

    def test_one_that_changes_nothing_is_acknowledged(self, path: Path, engine: str) -> None:
        with handle(path, engine) as mem:
            mem.patch({"$set": {"n": 0}}, journal=True)

    def test_one_that_is_refused(self, path: Path, engine: str) -> None:
        with handle(path, engine) as mem, pytest.raises(UsageError, match="journal must be"):
            mem.patch({"$set": {"n": 1}}, journal="yes")  # type: ignore[arg-type]

    def test_without_a_journal(self, path: Path, engine: str) -> None:
        options = {"file": {"path": path}, "engine": engine}
        with MemSync("journalled", {"n": 0}, options) as mem:
            with pytest.raises(UsageError, match=r"states file\.journal"):
                mem.patch({"$set": {"n": 1}}, journal=True)
            assert mem.data["n"] == 0

    def test_those_without_it_are_written_soon(self, path: Path, engine: str) -> None:
        with handle(path, engine) as mem:
            mem.patch({"$set": {"n": 1}})
            until(lambda: found_at(path).pair == (mem.epoch, mem.version))
            assert found_at(path).data == {"n": 1}

    def test_of_another_handle_that_states_nothing(self, path: Path, engine: str) -> None:
        with (
            handle(path, engine) as mem,
            MemSync("journalled", {}, {"engine": engine}) as other,
        ):
            other.patch({"$inc": {"n": 1}}, journal=True, w="all")
            assert found_at(path).pair == (mem.epoch, mem.version)
            del mem

    def test_many_that_wait_share_a_sync(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        are_ordered, sync = threading.Event(), FileLayer.sync

        def wait_and_sync(self: FileLayer, descriptor: int) -> None:
            are_ordered.wait(20)
            sync(self, descriptor)

        with handle(path) as mem:
            mem.patch({"$inc": {"n": 1}}, journal=True)
            before, version = journal_of(mem)["syncs"], mem.version
            monkeypatch.setattr(FileLayer, "sync", wait_and_sync)
            futures = [mem.submit({"$inc": {"n": 1}}, journal=True) for _ in range(400)]
            until(lambda: mem.version == version + 400)
            are_ordered.set()
            assert [future.result(20) for future in futures][-1] == mem.version
            assert 1 <= journal_of(mem)["syncs"] - before < 10


class TestTheNextGroup:
    def test_it_gets_what_was_journalled(self, path: Path, cluster: Cluster) -> None:
        peer = cluster.peer({"n": 0}, stated(path))
        peer.run(flush)
        peer.run(journalled_writes)
        peer.kill()
        assert parse(path.read_bytes(), str(path)).data == {"n": 0}
        with handle(path) as mem:
            assert mem.snapshot() == {"n": 0, "list": [1, 2], "text": "ä"}
            assert list(mem.data) == ["n", "list", "text"]
            mem.patch({"$set": {"n": 1}}, journal=True)
        with handle(path) as mem:
            assert mem.data["n"] == 1

    def test_the_journal_is_read_where_it_is_no_longer_written(
        self, path: Path, cluster: Cluster
    ) -> None:
        peer = cluster.peer({"n": 0}, stated(path))
        peer.run(journalled_writes)
        peer.kill()
        with MemSync("journalled", {"n": 0}, {"file": {"path": path}}) as mem:
            assert mem.data["list"] == [1, 2]

    def test_a_missing_file_is_no_new_object(self, path: Path, engine: str) -> None:
        with handle(path, engine) as mem:
            mem.patch({"$set": {"n": 1}}, journal=True)
        path.unlink()
        with pytest.raises(StorageError, match=r"is missing, .*'memsync restore"):
            handle(path, engine).start()
        (path.parent / "state.json.journal").rename(path.parent / "away")
        with handle(path, engine) as mem:
            assert mem.data["n"] == 0

    def test_a_torn_last_line_is_cut(
        self, path: Path, engine: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with handle(path, engine) as mem:
            mem.patch({"$set": {"n": 0}}, journal=True)
            mem.flush()
            mem.patch({"$set": {"n": 1}}, journal=True)
            content = path.read_bytes()
            [segment] = path.parent.glob("*.journal/*.jsonl")
            text = segment.read_bytes()
        path.write_bytes(content)  # as it was before the end
        segment.write_bytes(text + text.splitlines()[1][:90])
        with handle(path, engine) as mem:
            assert mem.data["n"] == 1
        assert "which is torn" in caplog.text

    @pytest.mark.parametrize("damage", ["flip", "lose", "double", "swap"])
    def test_damage_stops_the_start(self, path: Path, engine: str, damage: str) -> None:
        with handle(path, engine) as mem:
            mem.patch({"$set": {"n": 0}}, journal=True)
            mem.flush()
            for number in range(9):
                mem.patch({"$set": {"n": number}}, journal=True)
            content = path.read_bytes()
        path.write_bytes(content)
        [segment] = path.parent.glob("*.journal/*.jsonl")
        lines = segment.read_bytes().splitlines(keepends=True)
        one, other = [n for n, line in enumerate(lines) if b'"patch"' in line][3:5]
        match damage:
            case "flip":
                lines[one] = lines[one].replace(b"/n", b"/m")
            case "lose":
                del lines[one]
            case "double":
                lines.insert(one, lines[one])
            case "swap":
                lines[one], lines[other] = lines[other], lines[one]
        segment.write_bytes(b"".join(lines))
        with pytest.raises(StorageError, match=r"jsonl, line \d+: the journal is damaged"):
            handle(path, engine).start()
        assert segment.read_bytes() == b"".join(lines)


def flush(mem: MemSync[Any]) -> None:
    mem.flush()


def journalled_writes(mem: MemSync[Any]) -> None:
    mem.patch({"$push": {"list": 1}}, journal=True)
    mem.patch([{"op": "add", "path": "/list/-", "value": 2}], journal=True)
    mem.patch({"$set": {"text": "ä"}}, journal=True)


class TestFailures:
    def test_a_failed_sync_is_followed_by_a_new_segment(
        self, path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(journal, "RETRY", 0.01)
        with handle(path, engine) as mem:
            mem.flush()
            mem.patch({"$set": {"n": 1}}, journal=True)
            failed: list[int] = []
            sync = FileLayer.sync

            def fail_once(self: FileLayer, descriptor: int) -> None:
                if not failed:
                    failed.append(descriptor)
                    raise OSError(errno.EIO, "Input/output error")
                sync(self, descriptor)

            monkeypatch.setattr(FileLayer, "sync", fail_once)
            mem.patch({"$set": {"n": 2}}, journal=True)
            assert failed
            assert len(JournalFolder(str(path)).segments) == 2
            assert found_at(path).pair == (mem.epoch, mem.version)

    def test_writes_go_on_and_it_resumes(
        self,
        path: Path,
        engine: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.INFO, logger="memsync.storage")
        monkeypatch.setattr(journal, "RETRY", 0.01)
        with handle(path, engine) as mem:
            mem.patch({"$set": {"n": 1}}, journal=True)

            def full(self: FileLayer, *args: Any) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            with monkeypatch.context() as broken:
                broken.setattr(FileLayer, "write", full)
                mem.patch({"$set": {"n": 2}})
                with pytest.raises(WriteConcernError, match="the host's journal has not confirmed"):
                    mem.patch({"$set": {"n": 3}}, journal=True, timeout=1)
                why = f"{path}.journal: cannot be written: No space"
                until(lambda: why in str(journal_of(mem)["error"]))
                assert mem.data["n"] == 3
            mem.patch({"$set": {"n": 4}}, journal=True)
            until(lambda: journal_of(mem)["error"] is None)
            assert found_at(path).pair == (mem.epoch, mem.version)
        lines = [record.getMessage() for record in caplog.records]
        assert sum("cannot journal" in line for line in lines) == 1
        assert sum("journalling again" in line for line in lines) == 1

    def test_a_full_queue_leaves_a_gap_that_a_save_closes(
        self, path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(journal, "RETRY", 0.01)
        monkeypatch.setattr(journal, "QUEUE_BYTES", 1000)
        with handle(path, engine, file={**stated(path)["file"], "debounce": 0.01}) as mem:
            mem.patch({"$set": {"n": 1}}, journal=True)
            with monkeypatch.context() as broken:
                broken.setattr(FileLayer, "sync", raise_eio)
                for number in range(200):
                    mem.patch({"$set": {"n": number}})
            mem.patch({"$set": {"n": "end"}}, journal=True)
            found = found_at(path)
            assert found.data == {"n": "end"}

    def test_a_journal_of_a_later_epoch_is_left_alone(self, path: Path, engine: str) -> None:
        folder = path.parent / "state.json.journal"
        with handle(path, engine) as mem:
            mem.patch({"$set": {"n": 1}}, journal=True)
        [segment] = folder.glob("*.jsonl")
        segment.rename(folder / "0000099999-0001.jsonl")
        with handle(path, engine) as mem:
            until(lambda: "another group" in str(journal_of(mem)["error"]))
            mem.patch({"$set": {"n": 2}})


def raise_eio(*_: Any) -> None:
    raise OSError(errno.EIO, "Input/output error")


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "why"),
        [
            ({"file": {"journal": True}}, "which is not stated"),
            ({"file": {"journal": True, "path": "s3://b/k"}}, "not 's3://b/k'"),
            ({"journal": {"keep": "much"}}, "'much' is no limit"),
            ({"journal": {"keep": "1 GB, 2 GB"}}, "'2 GB' is no limit"),
            ({"journal": {"keep": -1}}, "'-1' is no limit"),
        ],
    )
    def test_wrong_ones(self, options: Any, why: str) -> None:
        with pytest.raises(OptionsError, match=why):
            MemSync("journalled", {}, options)

    def test_a_member_cannot_state_another_value(self, path: Path) -> None:
        with (
            MemSync("journalled", {}, {"file": {"path": path, "debounce": NEVER}}),
            pytest.raises(OptionsError, match=r"file\.journal is False in this group"),
        ):
            handle(path).start()


class TestWhatIsKept:
    @pytest.mark.parametrize("keep", ["20000", "0 days"])
    def test_old_segments_go_and_a_base_leads_to_the_rest(
        self, path: Path, engine: str, monkeypatch: pytest.MonkeyPatch, keep: str
    ) -> None:
        monkeypatch.setattr(journal, "SEGMENT_BYTES", 3000)
        monkeypatch.setattr(host_storage, "BASE_GAP", 6000)
        file = {**stated(path)["file"], "debounce": 0.005}
        with handle(path, engine, file=file, journal={"keep": keep}) as mem:
            for number in range(400):
                mem.patch({"$set": {f"k{number % 7}": number, "n": number}}, journal=True)
            mem.flush()
            last = mem.snapshot()
            pair = mem.epoch, mem.version
        folder = JournalFolder(str(path))
        assert folder.segments[0].number > 1
        base = folder.bases[0]
        text = (Path(folder.path) / base.name).read_bytes()
        found = with_journal(parse(text, base.name), str(path))
        assert found.pair >= pair
        assert found.data == last
        size = sum(each.stat().st_size for each in Path(folder.path).iterdir())
        assert size < 60_000

    def test_a_base_that_is_not_what_was_saved_is_removed(
        self, path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(FileLayer, "checksum", lambda self, path: 0)
        with handle(path, engine) as mem:
            mem.patch({"$set": {"n": 1}}, journal=True)
            mem.flush()
        assert JournalFolder(str(path)).bases == []


@pytest.mark.process
class TestSeveralProcesses:
    def test_the_death_of_all_loses_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MEMSYNC_DIR", str(tmp_path / "rendezvous"))
        result = play(tmp_path, rounds=3, seed=os.getpid(), least=11)
        assert result.lost == []
        assert result.acknowledged > 30

    def test_a_survivor_takes_from_the_journal_what_it_never_got(
        self, path: Path, cluster: Cluster
    ) -> None:
        host, client = cluster.peer({"n": 0}, stated(path)), cluster.peer()
        client.patch({"$set": {"n": 1}}, journal=True)
        host.run(send_nothing_more)
        host.run(write_seven)
        assert client.snapshot() == {"n": 1}
        host.kill()
        until(lambda: client.snapshot() == {"n": 7})
        client.patch({"$inc": {"n": 1}}, journal=True)
        client.kill()
        with handle(path) as mem:
            assert mem.data["n"] == 8

    def test_a_planned_end_of_the_host_fails_no_write(self, path: Path, cluster: Cluster) -> None:
        host, client = cluster.peer({"n": 0}, stated(path)), cluster.peer()
        client.run(begin_writing)
        host.stop()
        assert client.run(finish_writing) == 300
        client.kill()
        with handle(path) as mem:
            assert mem.data["n"] == 300


def send_nothing_more(mem: MemSync[Any]) -> None:
    from memsync.manager.host.fanout import FanOut

    FanOut.push = FanOut.flush = lambda self, *args: None  # type: ignore


def write_seven(mem: MemSync[Any]) -> None:
    mem.patch({"$set": {"n": 7}}, journal=True)


_futures: list[Any] = []


def begin_writing(mem: MemSync[Any]) -> None:
    _futures.extend(mem.submit({"$inc": {"n": 1}}, journal=True) for _ in range(300))


def finish_writing(mem: MemSync[Any]) -> int:
    return len([future.result(20) for future in _futures])
