"""``memsync replay``, ``log`` and ``restore``: what they print, and how they refuse."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync, StorageError, UsageError
from memsync.cli.app import main
from memsync.storage.file_layer import FileLayer
from memsync.storage.journal_history import JournalHistory
from memsync.storage.restore import restore

from .builders import BEGIN, MadeJournal, made


@pytest.fixture
def journal(tmp_path: Path) -> MadeJournal:
    """A journal of three versions."""
    journal = MadeJournal(tmp_path, {"n": 0, "tags": []})
    journal.segment(1)
    for number in (1, 2):
        journal.entry([{"op": "replace", "path": "/n", "value": number}])
    journal.entry([{"op": "add", "path": "/tags/-", "value": "new"}])
    journal.mark()
    journal.close()
    return journal


def test_replay_prints_an_object(journal: MadeJournal, capsys: Any) -> None:
    assert main(["replay", journal.path, "--at", "1"]) == 0
    assert json.loads(capsys.readouterr().out) == {"n": 1, "tags": []}
    assert main(["replay", journal.path, "--until", str(BEGIN / 1000 + 2.5), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "epoch": 1,
        "version": 2,
        "timestamp": BEGIN + 2000,
        "data": {"n": 2, "tags": []},
    }
    assert main(["replay", journal.path]) == 0
    assert json.loads(capsys.readouterr().out) == journal.data


def test_replay_prints_what_has_changed_since(journal: MadeJournal, capsys: Any) -> None:
    assert main(["replay", journal.path, "--at", "1", "--diff"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("from version 1 (2025-11-24T16:00:01.000Z) to 3:")
    assert lines[1:] == ["/n: 1 -> 2", '/tags/0: nothing -> "new"']
    assert main(["replay", journal.path, "--at", "2", "--diff", "--json"]) == 0
    patch = [{"op": "add", "path": "/tags/0", "value": "new"}]
    assert json.loads(capsys.readouterr().out) == {"from": 2, "to": 3, "patch": patch}


def test_log_prints_who_changed_what(journal: MadeJournal, capsys: Any) -> None:
    assert main(["log", journal.path]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "1  2025-11-24T16:00:01.000Z  p1  /n: 0 -> 1"
    assert main(["log", journal.path, "--path", "tags.0", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["version"], told["peer"], told["path"], told["new"]) == (3, "p1", "/tags/0", "new")
    assert "old" not in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["replay", "--at", "9"], "version 9 cannot be had: its journal has the versions 0 to 3"),
        (["replay", "--at", "x"], "--at 'x' is no version"),
        (["replay", "--at", "-1"], "--at '-1' is no version"),
        (["replay", "--until", "yesterday"], "--until 'yesterday' is no time"),
        (["replay", "--until", "1"], "an object as old as that cannot be had"),
        (["replay", "--at", "1", "--until", "1"], "give --at or --until, not both"),
        (["log", "--path", "a..b"], "empty part"),
        (["restore", "--at", "9"], "version 9 cannot be had"),
    ],
)
def test_bad_input_is_refused_in_a_line(
    journal: MadeJournal, capsys: Any, arguments: list[str], told: str
) -> None:
    command, *rest = arguments
    before = Path(journal.path).read_bytes()
    try:
        status = main([command, journal.path, *rest])
    except SystemExit as error:  # of argparse
        status = int(str(error.code))
    assert status == 2
    assert told in capsys.readouterr().err
    assert Path(journal.path).read_bytes() == before


@pytest.mark.parametrize("command", ["replay", "log", "restore"])
def test_what_is_not_there_is_named(tmp_path: Path, capsys: Any, command: str) -> None:
    assert main([command, str(tmp_path / "none.json")]) == 2
    assert "there is no file" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["replay", "log", "restore"])
def test_a_damaged_line_is_named(journal: MadeJournal, capsys: Any, command: str) -> None:
    segment = Path(journal.segments[0])
    segment.write_bytes(segment.read_bytes().replace(b'"value":1}', b'"value":7}'))
    assert main([command, journal.path]) == 1
    told = capsys.readouterr().err
    assert f"{segment}, line 2: the journal is damaged: its content and its CRC differ" in told
    assert "memsync restore FILE --at VERSION" in told


def objects_after(path: str, engine: str = "memory") -> dict[str, Any]:
    """What a start finds."""
    with MemSync[Any](
        "restored", options={"file": {"path": path, "journal": True}}, engine=engine
    ) as mem:
        found: dict[str, Any] = mem.snapshot()
        mem.patch({"$set": {"after": 1}}, journal=True)
    with MemSync[Any](
        "restored", options={"file": {"path": path, "journal": True}}, engine=engine
    ) as mem:
        assert mem.snapshot() == {**found, "after": 1}
    return found


def test_a_start_finds_the_restored_object(journal: MadeJournal, capsys: Any) -> None:
    """Lines that came later do not come back; they can still be looked at."""
    before = Path(journal.path).read_bytes()
    assert main(["restore", journal.path, "--at", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["restored"], told["version"], told["kept_journal"]) == (1, 4, None)
    assert Path(told["kept_file"]).read_bytes() == before
    assert objects_after(journal.path) == {"n": 1, "tags": []}
    assert main(["replay", journal.path, "--at", "3"]) == 0
    assert json.loads(capsys.readouterr().out) == journal.data
    assert main(["replay", journal.path, "--at", "4"]) == 0
    assert json.loads(capsys.readouterr().out) == {"n": 1, "tags": []}
    assert main(["log", journal.path, "--path", "after"]) == 0
    assert "/after: nothing -> 1" in capsys.readouterr().out


def test_restoring_twice_and_back(journal: MadeJournal) -> None:
    for version, expected in (("1", 1), ("0", 0), ("3", 2), ("4", 1)):
        assert main(["restore", journal.path, "--at", version]) == 0
        assert objects_after(journal.path)["n"] == expected


def test_a_missing_or_unreadable_file_is_replaced(journal: MadeJournal) -> None:
    Path(journal.path).unlink()
    assert main(["restore", journal.path]) == 0
    assert objects_after(journal.path) == journal.data
    Path(journal.path).write_bytes(b"{")
    assert main(["restore", journal.path, "--at", "2"]) == 0
    assert objects_after(journal.path) == {"n": 2, "tags": []}


def test_a_damaged_journal_is_moved_aside(journal: MadeJournal, capsys: Any) -> None:
    segment = Path(journal.segments[0])
    segment.write_bytes(segment.read_bytes().replace(b'"value":2}', b'"value":7}'))
    assert main(["restore", journal.path, "--at", "2"]) == 2
    assert "the journal is damaged" in capsys.readouterr().err
    assert main(["restore", journal.path, "--at", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert sorted(os.listdir(told["kept_journal"])) == sorted(
        [segment.name, "00000000000000-0000000001.json"]
    )
    assert objects_after(journal.path) == {"n": 1, "tags": []}


@pytest.mark.parametrize("place", ["head", "entry"])
def test_any_damage_has_a_way_out(tmp_path: Path, capsys: Any, place: str) -> None:
    """Also where the damaged line is the head of a segment, and in the middle of a journal."""
    journal = MadeJournal(tmp_path, {"n": 0})
    for number in (1, 2, 3):
        journal.segment(1, number)
        journal.entry([{"op": "replace", "path": "/n", "value": number}])
        journal.mark()
    journal.close()
    segment = Path(journal.segments[1])
    was = b'"segment":1' if place == "head" else b'"value":2'
    segment.write_bytes(segment.read_bytes().replace(was, was[:-1] + b"7"))
    assert main(["restore", journal.path]) == 1
    assert f"{segment}, line {1 if place == 'head' else 2}: the journal is damaged" in (
        capsys.readouterr().err
    )
    assert main(["restore", journal.path, "--at", "2"]) == 2
    assert main(["restore", journal.path, "--at", "1"]) == 0
    assert objects_after(journal.path) == {"n": 1}


@pytest.mark.parametrize("engine", ["memory", "local"])
def test_at_reads_in_the_journal_what_is_no_longer_in_memory(tmp_path: Path, engine: str) -> None:
    options = {
        "file": {"path": str(tmp_path / "state.json"), "journal": True},
        "network": {"maxLog": 5},
    }
    with MemSync[Any]("old", {"n": 0, "l": []}, options, engine=engine) as mem:
        first = mem.patch({"$set": {"n": 0, "begun": True}}, journal=True)  # there is a base
        known = {}
        for number in range(30):
            version = mem.patch(
                {"$inc": {"n": 1}, "$push": {"l": {"i": number}}}, journal=number % 10 == 9
            )
            known[version] = mem.snapshot()
        for version, expected in known.items():
            assert mem.at(version) == expected
            assert mem.at(version, "l.0.i") == 0
        assert mem.at(first, "l") == []
        with pytest.raises(UsageError, match=r"in memory.*journal of .* begins later") as caught:
            mem.at(0)
        assert (caught.value.oldest, caught.value.newest) == (mem.version - 5, mem.version)
    with MemSync[Any]("old", options=options, engine=engine) as mem:
        assert [mem.at(version) for version in known] == list(known.values())


@pytest.mark.parametrize("engine", ["memory", "local"])
def test_a_file_in_use_is_refused(tmp_path: Path, capsys: Any, engine: str) -> None:
    path = tmp_path / "state.json"
    options = {"file": {"path": str(path), "journal": True}}
    with MemSync[Any]("used", {"n": 0}, options, engine=engine) as mem:
        version = mem.patch({"$inc": {"n": 1}}, journal=True)
        mem.patch({"$inc": {"n": 1}}, journal=True)
        assert main(["restore", str(path), "--at", str(version)]) == 2
        assert "is in use by" in capsys.readouterr().err
        assert mem.at(version) == {"n": 1}
    assert main(["restore", str(path), "--at", str(version)]) == 0
    assert objects_after(str(path), engine) == {"n": 1}


class _Killed(BaseException):
    """Ends a command, as SIGKILL would."""


class _FilesUntil(FileLayer):
    """Ends before the n-th change of a file."""

    def __init__(self, left: int) -> None:
        self.left = left

    def _change(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise _Killed

    def create(self, path: str, mode: int) -> int:
        self._change()
        return super().create(path, mode)

    def write(self, descriptor: int, data: bytes | bytearray) -> None:
        self._change()
        super().write(descriptor, data)

    def replace(self, old: str, new: str) -> None:
        self._change()
        super().replace(old, new)

    def link(self, old: str, new: str) -> None:
        self._change()
        super().link(old, new)

    def sync_folder(self, path: str) -> None:
        self._change()
        super().sync_folder(path)


def test_a_restore_that_is_killed_leaves_one_or_the_other(tmp_path: Path) -> None:
    found = set()
    for left in range(30):
        (tmp_path / str(left)).mkdir()
        journal = made(tmp_path / str(left), random.Random(4))
        data = journal.objects[2]
        is_over = True
        try:
            restore(
                journal.path, data, lambda: None, journal_is_whole=True, files=_FilesUntil(left)
            )
        except _Killed:
            is_over = False
        now = JournalHistory(journal.path).object_at().data
        assert now in (journal.data, data)
        assert objects_after(journal.path) == now
        found.add((is_over, now == data))
        if is_over:
            break
    assert found >= {(False, False), (False, True), (True, True)}


def test_a_file_that_changes_meanwhile_is_not_replaced(journal: MadeJournal) -> None:
    class Files(FileLayer):
        def link(self, old: str, new: str) -> None:
            super().link(old, new)
            os.unlink(journal.path)
            journal.data, journal.pair = {"n": 99}, (1, 9)
            journal.save()

    with pytest.raises(StorageError, match="was changed meanwhile"):
        restore(journal.path, {}, lambda: None, journal_is_whole=True, files=Files())
    assert json.loads(Path(journal.path).read_bytes())["data"] == {"n": 99}
