"""What a journal has: versions, times, gaps, hosts that were replaced, damage."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from memsync import StorageError, UsageError
from memsync.document import MISSING
from memsync.storage.journal_history import JournalHistory
from memsync.storage.journal_log import JournalLog

from .builders import BEGIN, MadeJournal, made


def inc(value: int) -> list[dict[str, Any]]:
    return [{"op": "replace", "path": "/n", "value": value}]


def test_each_version_can_be_had(tmp_path: Path) -> None:
    for seed in range(5):
        (tmp_path / str(seed)).mkdir()
        journal = made(tmp_path / str(seed), random.Random(seed))
        history = JournalHistory(journal.path)
        for version, expected in journal.objects.items():
            saved = history.object_at(version)
            assert (saved.pair[1], saved.data) == (version, expected)
            assert history.object_near(version).data == expected
        assert history.object_at().data == journal.data


def test_a_time_is_that_of_the_last_version_before_it(tmp_path: Path) -> None:
    journal = made(tmp_path, random.Random(1))
    history = JournalHistory(journal.path)
    newest = journal.pair[1]
    for version in range(1, newest):
        for more in (0, 999):
            assert history.object_at(until=BEGIN + 1000 * version + more).pair[1] == version
    assert history.object_at(until=BEGIN + 10**9).pair[1] == newest
    assert history.object_at(until=BEGIN).pair[1] == 0
    with pytest.raises(UsageError, match=f"as old as that .* versions 0 to {newest}"):
        history.object_at(until=BEGIN - 1)


def test_entries_without_a_time_are_as_old_as_the_object_before_them(tmp_path: Path) -> None:
    journal = MadeJournal(tmp_path, {"n": 0})
    join: dict[str, Any] = {"kind": "member", "body": {"join": {"id": "p7", "pid": 77}}, "stamp": 0}
    journal.segment(1)
    journal.entry(None, **join)
    journal.entry(inc(2))
    journal.close()
    journal.pair, journal.data = (1, 10), {"n": 10}
    journal.base()
    journal.segment(1, 2, after_gap=True)
    journal.entry(None, **join)
    journal.close()
    history = JournalHistory(journal.path)
    for seconds, version in ((0, 1), (1, 1), (2, 2), (9, 2), (10, 11)):
        saved = history.object_at(until=BEGIN + 1000 * seconds)
        assert saved.pair[1] == version
        assert saved.timestamp == BEGIN + 1000 * {1: 0, 2: 2, 11: 10}[version]
    with pytest.raises(UsageError, match=r"as old as that .* 0 to 2, 10 to 11"):
        history.object_at(until=BEGIN - 1)


def test_what_a_replaced_host_wrote_last_does_not_count(tmp_path: Path) -> None:
    journal = MadeJournal(tmp_path, {"n": 0})
    journal.segment(1)
    for n in (1, 2):
        journal.entry(inc(n))
    kept = (journal.pair, journal.crc, journal.data)
    for n in (3, 4):
        journal.entry(inc(n))
    journal.base()  # the next host knows nothing of it
    journal.close()
    journal.pair, journal.crc, journal.data = kept
    journal.segment(2)
    journal.entry(inc(30))
    journal.entry(inc(40))
    journal.entry(inc(50))
    journal.close()
    history = JournalHistory(journal.path)
    assert [history.object_at(v).data for v in (2, 3, 4, 5)] == [{"n": n} for n in (2, 30, 40, 50)]
    assert history.object_near(5).data == {"n": 50}
    assert [each.new for each in JournalLog(history)] == [1, 2, 30, 40, 50]


def test_behind_a_gap_a_whole_object_goes_on(tmp_path: Path) -> None:
    journal = MadeJournal(tmp_path, {"n": 0})
    journal.segment(1)
    journal.entry(inc(1))
    journal.close()
    journal.pair, journal.data = (1, 10), {"n": 10}
    journal.base()
    journal.segment(1, 2, after_gap=True)
    journal.entry(inc(11))
    journal.close()
    history = JournalHistory(journal.path)
    assert [history.object_at(v).data for v in (1, 10, 11)] == [{"n": n} for n in (1, 10, 11)]
    with pytest.raises(UsageError, match=r"version 5 cannot be had.*0 to 1, 10 to 11"):
        history.object_at(5)
    assert [(each.old, each.new) for each in JournalLog(history)] == [(0, 1), (10, 11)]


def test_the_log_tells_old_and_new_values(tmp_path: Path) -> None:
    journal = MadeJournal(tmp_path, {"n": 0, "list": ["a"], "in": {"x/y": None}})
    journal.segment(1)
    member = {"join": {"id": "p7", "pid": 77}}
    journal.entry(None, kind="member", body=member)
    journal.entry(inc(1), peer="p7")
    journal.entry([{"op": "add", "path": "/list/0", "value": "b"}], peer="p8")
    journal.entry([{"op": "remove", "path": "/list/1"}, {"op": "remove", "path": "/in/x~1y"}])
    journal.entry(None, event=["done", [1]])
    journal.close()
    changes = list(JournalLog(JournalHistory(journal.path)))
    assert [(c.version, c.peer, c.pid, c.path, c.old, c.new) for c in changes[:4]] == [
        (2, "p7", 77, "/n", 0, 1),
        (3, "p8", None, "/list/0", MISSING, "b"),
        (4, "p1", None, "/list/1", "a", MISSING),
        (4, "p1", None, "/in/x~1y", None, MISSING),
    ]
    assert (changes[4].version, changes[4].event) == (5, ["done", [1]])
    moved = list(JournalLog(JournalHistory(journal.path), "list.0"))
    assert [(c.version, c.old, c.new) for c in moved] == [(3, "a", "b")]
    gone = list(JournalLog(JournalHistory(journal.path), "list.1"))
    assert [(c.version, c.old, c.new) for c in gone] == [(3, MISSING, "a"), (4, "a", MISSING)]
    above = list(JournalLog(JournalHistory(journal.path), "in"))
    assert [(c.version, c.old, c.new) for c in above] == [(4, {"x/y": None}, {})]
    assert list(JournalLog(JournalHistory(journal.path), "none.x")) == []


def test_a_file_that_cannot_be_read_is_told_and_not_needed(tmp_path: Path) -> None:
    journal = made(tmp_path, random.Random(3))
    Path(journal.path).write_bytes(b"{")
    history = JournalHistory(journal.path)
    assert history.object_at().data == journal.data
    assert history.file_error is not None
    Path(journal.path).unlink()
    assert JournalHistory(journal.path).object_at().data == journal.data


def test_without_a_journal_there_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    with pytest.raises(UsageError, match=r"no journal: there is no file .*file\.journal"):
        JournalHistory(str(path))
    path.write_text('{"data": {}, "version": 1, "timestamp": 0}')
    with pytest.raises(UsageError, match="no journal: the folder"):
        JournalHistory(str(path))


def test_a_patch_that_does_not_fit_is_named(tmp_path: Path) -> None:
    journal = MadeJournal(tmp_path, {"n": 0})
    journal.segment(1)
    journal.entries([{"op": "remove", "path": "/none"}])
    journal.close()
    with pytest.raises(StorageError, match="version 1 of the journal does not fit"):
        JournalHistory(journal.path).object_at(1)
