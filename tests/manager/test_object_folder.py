"""Locks with their witnesses, and cleaning, in a folder without processes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from memsync import RendezvousError
from memsync.manager.folder.cleaning import clean, clean_if_deserted
from memsync.manager.folder.folder import ObjectFolder
from memsync.manager.folder.held_file import Files
from memsync.testing import NAME


def test_an_epoch_whose_lock_was_deleted_is_known_by_its_witness(folder: Path) -> None:
    place = ObjectFolder(folder, NAME)
    lock = place.publish_lock(3, "ab", 7, "/x")
    assert lock is not None
    (place.path / "epoch-3.lock").unlink()
    record = place.latest_epoch()
    assert record is not None
    assert (record.epoch, record.held, record.peer) == (3, True, "ab")
    assert place.publish_lock(3, "cd", 8, "/y") is None
    assert not (place.path / "epoch-3.lock").exists()
    lock.repair(place.repaired)
    assert (place.path / "epoch-3.lock").exists()
    lock.close()


def test_the_epoch_above_a_held_one_stays_for_its_holder_to_see(folder: Path) -> None:
    place = ObjectFolder(folder, NAME)
    locks = [place.publish_lock(epoch, "ab", 7, "/x") for epoch in (1, 2, 3, 4)]
    for lock in locks[1:]:
        assert lock is not None
        lock.close()
    clean(place, 4)
    assert sorted(path.name for path in place.path.glob("*.lock")) == [
        "epoch-1.lock",
        "epoch-2.lock",
        "epoch-4.lock",
    ]
    assert place.is_over(1)
    assert locks[0] is not None
    locks[0].close()


def test_what_the_dead_left_is_removed_only_where_nobody_is_left(folder: Path) -> None:
    place = ObjectFolder(folder, NAME)

    def names() -> list[str]:
        clean_if_deserted(place, known=2)
        return sorted(path.name for path in place.path.iterdir())

    locks = [place.publish_lock(epoch, "ab", 7, "/x") for epoch in (1, 2)]
    peers = [place.publish_peer(name, {}) for name in ("ab", "cd")]
    socket = place.path / "2-ab.sock"
    socket.touch()
    everything = ["2-ab.sock", "epoch-1.lock", "epoch-2.lock", "peer-ab.json", "peer-cd.json"]
    peers[0].close(remove=False)
    assert names() == everything  # a host lives, and a peer
    for lock in locks:
        assert lock is not None
        lock.close()
    assert names() == everything  # a peer lives
    peers[1].close(remove=False)
    assert names() == ["epoch-2.lock"]


@pytest.mark.parametrize(("known", "opened"), [(1, 2), (2, 0)])
def test_that_there_may_be_survivors_is_told_by_the_lock_that_stays(
    folder: Path, known: int, opened: int
) -> None:
    """The second lock is that of a candidate that never was host, unless the caller has seen it."""
    place = ObjectFolder(folder, NAME)
    for epoch, is_open in ((1, True), (2, False)):
        lock = place.publish_lock(epoch, "ab", 7, "/x")
        assert lock is not None
        lock.mark(is_open=is_open)
        lock.close()
    assert place.last_opened() == 1
    clean_if_deserted(place, known)
    assert [path.name for path in place.path.iterdir()] == ["epoch-2.lock"]
    assert place.last_opened() == opened


def test_a_number_that_was_deleted_and_taken_anew_is_left_to_who_holds_it(folder: Path) -> None:
    one, other = (ObjectFolder(folder, NAME) for _ in range(2))
    lock = one.publish_lock(1, "a", 1, "address")
    assert lock is not None
    for place in (one.path, *Files().witness_folder(one.path)):
        (place / "epoch-1.lock").unlink()
    taken = other.publish_lock(1, "b", 2, "address")
    assert taken is not None
    assert not lock.repair(one.repaired)
    assert taken.repair(other.repaired)
    assert json.loads((one.path / "epoch-1.lock").read_bytes())["id"] == "b"
    lock.close()
    taken.close()


def test_a_witness_is_of_the_place_and_not_of_its_name_alone(tmp_path: Path) -> None:
    def witness() -> list[Path]:
        (tmp_path / "temp" / "root" / "obj.d").mkdir(parents=True)
        return Files().witness_folder(tmp_path / "temp" / "root" / "obj.d")

    first = witness()
    shutil.rmtree(tmp_path / "temp" / "root")
    assert witness() == first
    (tmp_path / "temp").rename(tmp_path / "elsewhere")
    second = witness()
    assert second != first
    for made in (*first, *second):
        made.rmdir()


def test_a_lock_that_cannot_be_looked_at_again_is_given_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process held an epoch in which it did not host, so nobody could."""
    place = ObjectFolder(folder, NAME)

    def fails() -> int:
        raise RendezvousError("no descriptors")

    monkeypatch.setattr(place, "highest_epoch", fails)
    with pytest.raises(RendezvousError, match="no descriptors"):
        place.publish_lock(1, "ab", 1, "/x")
    assert ObjectFolder(folder, NAME).latest_epoch() is None
