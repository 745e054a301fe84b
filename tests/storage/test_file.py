"""The object in a file of this machine: loading, saving, flushing, and what goes wrong."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync, at_exit
from memsync.errors import OptionsError, StorageError, UsageError
from memsync.storage.file_layer import FileLayer
from memsync.storage.local_file import LocalFile
from memsync.testing import Cluster, Peer, until


def handle(path: Path | str, engine: str = "local", **file: Any) -> MemSync[Any]:
    return MemSync("kept", {"n": 0}, {"file": {"path": path, **file}, "engine": engine})


def flush(mem: MemSync[Any]) -> None:
    mem.flush()


def patch_and_flush(mem: MemSync[Any], update: Any) -> None:
    mem.patch(update, timeout=20)
    mem.flush(timeout=20)


def submit(mem: MemSync[Any], update: Any) -> None:
    mem.submit(update)


def keep_temporary_files(mem: MemSync[Any]) -> None:
    LocalFile.prepare = lambda self: None  # type: ignore[method-assign]


def suspend_before_the_replacement(mem: MemSync[Any]) -> None:
    """Suspend this process when its next save has written all, and has yet to replace the file."""
    locked = FileLayer.locked

    def suspend(self: FileLayer, folder: str) -> AbstractContextManager[None]:
        FileLayer.locked = locked  # type: ignore[method-assign]
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(0.1)  # it may take effect a moment later
        return locked(self, folder)

    FileLayer.locked = suspend  # type: ignore[assignment]


def leave_in_twenty_seconds(mem: MemSync[Any]) -> None:
    """The disk may need longer than a process usually waits at its end."""
    at_exit._PATIENCE = 20.0


def host_and_client(cluster: Cluster, options: dict[str, Any]) -> tuple[Peer, Peer]:
    """A saved object's host and client, who may have changed places: their lease is short."""
    for peer in cluster.start(2, {"n": 0}, options):
        peer.run(flush)
    (client,) = cluster.clients()
    return cluster.host(), client


def host_is_suspended(host: Peer) -> bool:
    return Path(f"/proc/{host.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def savers(mem: MemSync[Any]) -> int:
    """The threads of this process that save."""
    return sum(thread.name == "memsync-saver" for thread in threading.enumerate())


def saved(path: Path) -> Any:
    return json.loads(path.read_bytes())["data"]


class TestAFileKeepsTheObject:
    def test_a_new_group_goes_on_where_the_last_one_ended(self, path: Path, engine: str) -> None:
        with handle(path, engine) as mem:
            mem.patch({"$set": {"n": 5, "ä": [1, {"b": 2.5}, None]}})
            pair = mem.epoch, mem.version
        with handle(path, engine) as mem:
            assert mem.snapshot() == {"n": 5, "ä": [1, {"b": 2.5}, None]}
            assert list(mem.snapshot()) == ["n", "ä"]
            assert (mem.epoch, mem.version) > pair
            assert mem.epoch > pair[0]

    def test_the_pair_never_goes_back_though_the_folder_is_gone(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        pairs = []
        for number in range(3):
            monkeypatch.setenv("MEMSYNC_DIR", str(tmp_path / f"r{number}"))
            with handle(path) as mem:
                mem.patch({"$inc": {"n": 1}})
                pairs.append((mem.epoch, mem.version))
                assert mem.data["n"] == number + 1
        assert pairs == sorted(set(pairs))
        assert len({epoch for epoch, _ in pairs}) == 3

    def test_flush_returns_when_it_is_in_the_file(self, path: Path, engine: str) -> None:
        with handle(path, engine, debounce=60) as mem:
            for number in range(3):
                mem.patch({"$set": {"n": number}})
                mem.flush()
                assert saved(path) == {"n": number}
            status = mem.get_status()["storage"]
            assert status["url"] == str(path)
            assert status["saved_version"] == mem.version
            assert status["error"] is None
            assert status["fencing"] == "lock"

    def test_a_change_is_saved_by_itself(self, path: Path, engine: str) -> None:
        with handle(path, engine) as mem:
            mem.patch({"$set": {"n": 7}})
            until(lambda: path.exists() and saved(path) == {"n": 7})

    def test_the_file_wins_over_the_data_and_the_group_over_the_file(
        self, path: Path, engine: str
    ) -> None:
        path.write_text('{"data": {"old": 1}}')
        with handle(path, engine) as mem:
            mem.flush()
            path.write_text('{"data": {"n": "somebody else\'s"}}')
            with handle(path, engine) as other:
                assert other.snapshot() == {"old": 1}

    def test_no_other_write_follows_a_quiet_group(self, path: Path, engine: str) -> None:
        with handle(path, engine, debounce=0) as mem:
            mem.flush()
            stamp = path.stat().st_mtime_ns, path.stat().st_ino
            mem.presence.update(busy=True)  # an entry, but no change of the object
            mem.flush()
            assert (path.stat().st_mtime_ns, path.stat().st_ino) == stamp

    def test_the_permissions_and_a_link_stay(self, tmp_path: Path) -> None:
        real, link = tmp_path / "real.json", tmp_path / "link.json"
        real.write_text('{"data": {"n": 1}}')
        real.chmod(0o640)
        link.symlink_to(real)
        with handle(link) as mem:
            mem.flush()
        assert link.is_symlink()
        assert saved(real) == {"n": 1}
        assert real.stat().st_mode & 0o777 == 0o640

    def test_missing_folders_are_made(self, tmp_path: Path) -> None:
        with handle(tmp_path / "a" / "b" / "state.json") as mem:
            mem.flush()
        assert saved(tmp_path / "a" / "b" / "state.json") == {"n": 0}

    def test_what_a_killed_save_left_is_removed(self, path: Path) -> None:
        left = path.with_name(f".{path.name}.0123456789abcdef.tmp")
        left.write_text("half")
        with handle(path) as mem:
            mem.flush()
        assert os.listdir(path.parent) == [path.name]


class TestTheGroupsFile:
    def test_a_client_states_none_and_takes_that_of_the_group(self, path: Path) -> None:
        with handle(path), MemSync("kept") as client:
            client.patch({"$set": {"n": 1}})
            client.flush()
            assert saved(path) == {"n": 1}
            assert client.get_status()["storage"]["url"] == str(path)

    def test_a_client_that_states_another_is_refused(self, path: Path, engine: str) -> None:
        with handle(path, engine), pytest.raises(OptionsError, match=r"file\.path is"):
            handle(path.with_name("other.json"), engine).start()
        with (
            MemSync("plain", engine=engine),
            pytest.raises(OptionsError, match=r"file\.path is None in this group"),
        ):
            MemSync("plain", options={"file": {"path": path}, "engine": engine}).start()

    def test_a_relative_path_is_made_absolute_at_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        mem = handle("state.json")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        with mem:
            mem.flush()
        assert saved(tmp_path / "state.json") == {"n": 0}

    def test_flush_without_a_file_says_what_is_missing(self, engine: str) -> None:
        with MemSync("plain", engine=engine) as mem:
            with pytest.raises(UsageError, match=r"states file\.path"):
                mem.flush()
            with (
                MemSync("plain", engine=engine) as other,
                pytest.raises(UsageError, match=r"states file\.path"),
            ):
                other.flush()
            assert mem.get_status()["storage"] is None

    @pytest.mark.parametrize("value", ["", 3, ["a"]])
    def test_values_that_are_no_path(self, value: Any) -> None:
        with pytest.raises(OptionsError, match=r"file\.path"):
            MemSync("kept", options={"file": {"path": value}})


class TestAnUnreadableFile:
    @pytest.mark.parametrize(
        ("text", "why"),
        [
            (b"", "it is empty"),
            (b"\0" * 512, "it is not JSON"),
            (b'{"data": {"n": 1}', "it is not JSON"),
            (b'{"data": [1]}', "it has no object 'data'"),
            (b'{"n": 1}', "it has no object 'data'"),
            (b'{"data": {"n": 1}, "format": 99}', "a later version"),
            (b'{"data": {"n": 1}, "version": -1}', "its version is -1"),
            (b'{"data": {"n": 1e999}}', "cannot be loaded"),
            (b'{"data": {"n": 99999999999999999999}}', r"data\.n"),
        ],
    )
    def test_it_stops_the_start_and_is_kept(
        self, path: Path, engine: str, text: bytes, why: str
    ) -> None:
        path.write_bytes(text)
        mem = handle(path, engine)
        with pytest.raises(StorageError, match=why) as caught:
            mem.start()
        assert str(path) in str(caught.value)
        assert path.read_bytes() == text
        path.write_text('{"data": {"n": 3}}')
        with mem:  # repaired: the same handle starts
            assert mem.data["n"] == 3

    def test_a_folder_in_its_place(self, path: Path, engine: str) -> None:
        path.mkdir()
        with pytest.raises(StorageError, match="cannot be read: Is a directory"):
            handle(path, engine).start()

    def test_the_files_of_the_predecessor(self, path: Path, engine: str) -> None:
        text = '{"version": 12, "timestamp": 1600000000000, "data": {"foo": [1, {"bar": "x"}]}}'
        path.write_text(text)
        with handle(path, engine) as mem:
            assert mem.snapshot() == {"foo": [1, {"bar": "x"}]}
            assert mem.version > 12
            mem.flush()
        content = json.loads(path.read_text())
        assert content["data"] == {"foo": [1, {"bar": "x"}]}
        assert content["version"] > 12
        assert content["timestamp"] > 1600000000000


class TestSavingThatFails:
    def test_writes_go_on_and_saving_resumes_by_itself(
        self, path: Path, engine: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger="memsync.storage")
        with handle(path, engine, debounce=0) as mem:
            mem.flush()
            path.unlink()
            path.mkdir()  # no file can take its place
            (path / "full").touch()
            for number in range(20):
                mem.patch({"$set": {"n": number}})
            with pytest.raises(StorageError, match="cannot be"):
                mem.flush()
            assert "cannot be" in mem.get_status()["storage"]["error"]
            with pytest.raises(StorageError, match="cannot be"):
                mem.flush()
            (path / "full").unlink()
            path.rmdir()
            until(lambda: mem.get_status()["storage"]["error"] is None)
            assert saved(path) == {"n": 19}
        lines = [record.getMessage() for record in caplog.records]
        assert sum("cannot save" in line for line in lines) == 1
        assert sum("saving again" in line for line in lines) == 1

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
    @pytest.mark.parametrize("call", ["create", "write", "sync", "replace", "sync_folder"])
    def test_each_call_may_fail(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
    ) -> None:
        with handle(path, "memory", debounce=0) as mem:
            mem.flush()

            def fail(self: FileLayer, *args: Any) -> Any:
                raise OSError(number, os.strerror(number))

            with monkeypatch.context() as broken:
                broken.setattr(FileLayer, call, fail)
                mem.patch({"$set": {"n": 1}})
                with pytest.raises(StorageError, match=os.strerror(number)):
                    mem.flush()
                assert saved(path)["n"] in ((0, 1) if call == "sync_folder" else (0,))
                assert os.strerror(number) in mem.get_status()["storage"]["error"]
            mem.patch({"$set": {"n": 2}})
            mem.flush()
            assert saved(path) == {"n": 2}
            assert os.listdir(path.parent) == [path.name]

    def test_a_newer_file_of_another_group_is_not_replaced(self, path: Path, engine: str) -> None:
        with handle(path, engine, debounce=0) as mem:
            mem.flush()
            newer = path.read_text().replace('"epoch":1', '"epoch":9')
            path.write_text(newer)
            mem.patch({"$set": {"n": 1}})
            with pytest.raises(StorageError, match="if another group saves there"):
                mem.flush()
            assert path.read_text() == newer


@pytest.mark.process
class TestSeveralProcesses:
    def test_the_next_host_goes_on_saving(self, cluster: Cluster, path: Path) -> None:
        options = {"file": {"path": str(path), "debounce": 0.01}}
        host, client = cluster.peer({"n": 0}, options), cluster.peer()
        host.patch({"$set": {"n": 1}})
        host.kill()
        client.patch({"$set": {"n": 2}})
        client.run(flush)
        assert saved(path) == {"n": 2}
        client.stop()
        assert saved(path) == {"n": 2}
        with handle(path) as mem:
            assert mem.data["n"] == 2

    def test_the_last_peer_that_stops_saves(self, cluster: Cluster, path: Path) -> None:
        options = {"file": {"path": str(path), "debounce": 3600}}
        host, client = cluster.peer({"n": 0}, options), cluster.peer()
        client.patch({"$set": {"n": 1}})
        host.stop()
        client.patch({"$set": {"n": 2}})
        client.stop()
        assert saved(path) == {"n": 2}

    def test_g11_a_host_that_was_suspended_puts_no_older_object_back(
        self, cluster: Cluster, path: Path
    ) -> None:
        options = {"file": {"path": str(path), "debounce": 0}, "network": {"lease": 0.3}}
        host, client = host_and_client(cluster, options)
        client.run(flush)
        host.pause()
        for number in range(1, 4):
            client.patch({"$set": {"n": number}}, timeout=20)
        client.run(flush)
        assert saved(path) == {"n": 3}
        epoch = json.loads(path.read_text())["epoch"]
        host.resume()
        until(lambda: host.status()["status"] == "client")
        assert json.loads(path.read_text())["epoch"] == epoch
        assert saved(path) == {"n": 3}

    def test_g11_not_even_one_that_was_suspended_before_the_replacement(
        self, cluster: Cluster, path: Path
    ) -> None:
        options = {"file": {"path": str(path), "debounce": 0}, "network": {"lease": 0.3}}
        host, client = host_and_client(cluster, options)
        client.run(keep_temporary_files)  # or the replacement fails because its file is gone
        host.run(suspend_before_the_replacement)
        client.run(submit, {"$set": {"n": 1}})
        until(lambda: host_is_suspended(host))
        client.run(patch_and_flush, {"$set": {"n": 2}})
        before = json.loads(path.read_text())
        assert before["data"] == {"n": 2}
        host.resume()
        until(lambda: host.status()["status"] == "client")
        until(lambda: host.run(savers) == 0)
        assert json.loads(path.read_text()) == before
        assert os.listdir(path.parent) == [path.name]

    def test_the_end_of_a_program_saves(self, path: Path, cluster: Cluster) -> None:
        host = cluster.peer({"n": 0}, {"file": {"path": str(path), "debounce": 3600}})
        host.patch({"$set": {"n": 4}})
        host.run(leave_in_twenty_seconds)
        host.end()  # its main returns, without stop()
        host.join()
        assert saved(path) == {"n": 4}
