"""A file of this machine, at odd places and among the files of others."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from memsync.errors import OptionsError, StorageError
from memsync.options import load_options
from memsync.storage.file_layer import FileLayer
from memsync.storage.local_file import LocalFile
from memsync.storage.snapshot_file import head, pair_at

from .test_file import handle, saved


def write(path: Path | str, version: int = 1) -> None:
    target = LocalFile(str(path))
    target.prepare()
    target.write([head("c", 1, version, 0), b"{}", b"}\n"], lambda start: None)


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            *("a b  c.json", "ä漢字😀.json", "a\nb", "-rf", ".hidden", "a%20b#c?d", "'\"$(x)", "*"),
            *("n" * 255, "n" * 240, "ä" * 127, "a\udcffb"),
        ],
    )
    def test_any_name_of_the_system(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        with handle(path, "memory") as mem:
            mem.patch({"$set": {"n": 1}})
            mem.flush()
            assert os.listdir(tmp_path) == [name]
        with handle(path, "memory") as mem:
            assert mem.data["n"] == 1

    @pytest.mark.parametrize("name", ["n" * 250, "state", "*"])
    def test_what_a_killed_save_left_is_removed_and_nothing_else(
        self, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        others = {f"{name}"[:100] + ".json", ".state.mine.tmp", ".state.0123456789abcdef.tmp.txt"}
        for other in others:
            (tmp_path / other).touch()
        with monkeypatch.context() as patch:
            patch.setattr(FileLayer, "remove", lambda self, path: None)  # as if it was killed
            patch.setattr(FileLayer, "replace", fail)
            for path in (tmp_path / name, tmp_path / "state.json"):
                with pytest.raises(StorageError):
                    write(path)
        left = set(os.listdir(tmp_path)) - others
        assert len(left) == 2
        write(tmp_path / name)
        # The file of the other object may be being written.
        assert len(set(os.listdir(tmp_path)) & left) == 1
        write(tmp_path / "state.json")
        assert set(os.listdir(tmp_path)) == {*others, name, "state.json"}

    @pytest.mark.parametrize("prefix", ["file://", "file://localhost", "FILE://"])
    def test_a_url_of_a_file_is_its_path(self, tmp_path: Path, prefix: str) -> None:
        with handle(f"{prefix}{tmp_path}/a%20b.json", "memory") as mem:
            mem.flush()
            assert mem.get_status()["storage"]["url"] == f"{tmp_path}/a b.json"
        assert saved(tmp_path / "a b.json") == {"n": 0}

    @pytest.mark.parametrize(
        ("path", "why"),
        [
            ("file://state.json", "three slashes"),
            ("file://server/state.json", "three slashes"),
            ("/tmp/a\0b.json", "a null byte"),
            ("/tmp/state/", "names a folder"),
            ("state/", "names a folder"),
            ("file:///tmp/state/", "names a folder"),
        ],
    )
    def test_what_is_no_file_is_refused_at_once(self, path: str, why: str) -> None:
        with pytest.raises(OptionsError, match=why):
            load_options({"file": {"path": path}})


def fail(self: FileLayer, *args: Any) -> None:
    raise OSError(28, "No space left on device")


class TestWhatIsThere:
    @pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/full")])
    def test_what_is_no_regular_file_is_refused(self, tmp_path: Path, make: Any) -> None:
        path = tmp_path / "state.json"
        make(path)
        with pytest.raises(StorageError, match="no regular file"):
            handle(path, "memory").start()

    def test_nor_is_it_replaced_later(self, tmp_path: Path) -> None:
        path = tmp_path / "state.json"
        with handle(path, "memory", debounce=3600) as mem:
            mem.flush()
            path.unlink()
            os.mkfifo(path)
            mem.patch({"$set": {"n": 1}})
            with pytest.raises(StorageError, match="no regular file"):
                mem.flush()
            assert stat.S_ISFIFO(path.stat().st_mode)
            path.unlink()

    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o666, 0o777, 0o444])
    def test_the_permissions_stay_whatever_the_mask(self, tmp_path: Path, mode: int) -> None:
        path = tmp_path / "state.json"
        path.touch()
        path.chmod(mode)
        mask = os.umask(0o077)
        try:
            write(path)
        finally:
            os.umask(mask)
        assert stat.S_IMODE(path.stat().st_mode) == mode

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
    def test_the_owner_stays(self, tmp_path: Path) -> None:
        path = tmp_path / "state.json"
        path.touch()
        os.chown(path, 1234, 2345)
        write(path)
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)

    def test_a_file_where_the_folder_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "plain").write_text("x")
        with pytest.raises(StorageError, match="Not a directory"):
            write(tmp_path / "plain" / "state.json")

    def test_two_that_make_the_same_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mkdir = os.mkdir

        def be_late(path: str) -> None:
            mkdir(path)
            mkdir(path)

        monkeypatch.setattr(os, "mkdir", be_late)
        write(tmp_path / "a" / "b" / "state.json")
        assert pair_at((tmp_path / "a" / "b" / "state.json").read_bytes()) == (1, 1)


class TestFork:
    def test_a_child_of_the_moment_keeps_neither_the_lock_nor_the_file(
        self, tmp_path: Path
    ) -> None:
        """It was forked by another thread in the middle of a save."""
        path, files = tmp_path / "state.json", ForkingFiles()
        LocalFile(str(path), files).write([b"{}"], lambda start: None)
        try:
            for _, descriptors in files.children:
                assert [each for each in descriptors if str(tmp_path) in each] == []
        finally:
            files.end()


class ForkingFiles(FileLayer):
    """Another thread forks in the middle of each save."""

    def __init__(self) -> None:
        self.children: list[tuple[int, list[str]]] = []

    def sync(self, descriptor: int) -> None:
        self._fork()

    def replace(self, old: str, new: str) -> None:
        self._fork()
        super().replace(old, new)

    def _fork(self) -> None:
        thread = threading.Thread(target=self._fork_here)
        thread.start()
        thread.join()

    def _fork_here(self) -> None:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            folder = "/proc/self/fd"
            found = [os.readlink(f"{folder}/{n}") for n in os.listdir(folder) if _is_open(n)]
            os.write(writer, json.dumps(found).encode())
            os._exit(0)
        os.close(writer)
        with open(reader) as answer:
            self.children.append((child, json.load(answer)))

    def end(self) -> None:
        for child, _ in self.children:
            os.waitpid(child, 0)


def _is_open(number: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{number}")
