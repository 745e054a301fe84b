"""A folder is unchanged when nothing appeared, went or was rewritten since it was in order."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from memsync.manager.folder.folder import ObjectFolder
from memsync.manager.folder.held_file import Files, Stamp
from memsync.manager.folder.stamps import FolderStamps

SETTLING = 2.0


def stamps_of(folder: Path) -> FolderStamps:
    return FolderStamps(Files(), [folder, folder / "kept"], SETTLING)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "kept").write_bytes(b"content")
    return tmp_path


def in_order(stamps: FolderStamps) -> None:
    """Let a full check find all in order, late enough after the last change."""
    assert not stamps.are_in_order(0.0)
    stamps.found_in_order()
    assert not stamps.are_in_order(SETTLING)
    stamps.found_in_order()
    assert stamps.are_in_order(SETTLING + 0.75)


def overwrite_and_hide_it(place: Path) -> None:
    before = (place / "kept").stat()
    (place / "kept").write_bytes(b"CONTENT")
    os.utime(place / "kept", ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_folder(place: Path) -> None:
    place.rename(f"{place}-2")
    place.mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file appears": lambda place: (place / "epoch-2.lock").touch(),
    "a file goes": lambda place: (place / "kept").unlink(),
    "a file is renamed": lambda place: (place / "kept").rename(place / "other"),
    "a file is replaced": lambda place: (place / "new").rename(place / "kept"),
    "a file is overwritten": lambda place: (place / "kept").write_bytes(b"CONTENT"),
    "a file is overwritten, its time kept": overwrite_and_hide_it,
    "a file is closed to readers": lambda place: (place / "kept").chmod(0),
    "the folder is another one": replace_folder,
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_seen(place: Path, change: str) -> None:
    (place / "new").write_bytes(b"content")
    stamps = stamps_of(place)
    in_order(stamps)
    os.utime(place / "new")  # as a heartbeat: the names in the folder are as they were
    assert stamps.are_in_order(4.0)
    CHANGES[change](place)
    assert not stamps.are_in_order(5.0)
    assert not stamps.are_in_order(9.0)  # until a full check has found all in order


def test_a_check_that_found_something_amiss_is_repeated(place: Path) -> None:
    stamps = stamps_of(place)
    assert not any(stamps.are_in_order(now) for now in (0.0, 3.0, 6.0))


def test_what_is_missing_is_looked_for_again(place: Path) -> None:
    (place / "kept").unlink()
    stamps = stamps_of(place)
    for now in (0.0, 3.0, 6.0):
        assert not stamps.are_in_order(now)
        stamps.found_in_order()


def test_a_change_within_one_tick_of_the_clock_is_not_missed() -> None:
    """The second change leaves the stamp as it is, so the check between the two proves nothing."""

    class CoarseClock(Files):
        def stamp(self, path: str) -> Stamp | None:
            return 0, 1, int(clock)

    clock = 7.1
    stamps = FolderStamps(CoarseClock(), [Path("folder")], SETTLING)
    assert not stamps.are_in_order(clock)
    stamps.found_in_order()
    clock = 7.9  # something changes after the check
    assert not stamps.are_in_order(8.5)
    stamps.found_in_order()


def test_lock_and_witness_show_one_heartbeat(folder: Path) -> None:
    """A peer may read either of them, and must not take a difference for a sign of life."""
    place = ObjectFolder(folder, "obj")
    lock = place.publish_lock(1, "ab", 7, "/x")
    assert lock is not None
    for when in (10**18, 10**18 + 750_000_001):
        lock.heartbeat(when)
        seen = {(f / "epoch-1.lock").stat().st_mtime_ns for f in place.lock_folders()}
        assert seen == {place.last_heartbeat(1)} == {place.living_heartbeat(1)} == {when}
    lock.close()
    assert place.living_heartbeat(1) is None
    assert place.living_heartbeat(2) is None
