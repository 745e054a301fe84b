"""Something else in a file's place: a link, a folder, a pipe."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from memsync import MemSync, RendezvousError
from memsync.manager.host.claim import EpochClaim
from memsync.testing import NAME, Cluster, until

from .folder_helpers import can_be_connected, is_whole

pytestmark = pytest.mark.process


repair_as_host = EpochClaim.repair_as_host

PLACED: dict[str, Callable[[Path], None]] = {
    "link": lambda path: path.symlink_to(path.with_name("elsewhere")),
    "folder": lambda path: path.mkdir(),
    "fifo": os.mkfifo,
}


def put_in_place(what: str, path: Path) -> None:
    """Put something else in a file's place, where a peer makes its file again at any moment."""
    for _ in range(1000):
        path.unlink(missing_ok=True)
        with contextlib.suppress(FileExistsError):
            PLACED[what](path)
            return
    raise AssertionError(f"{path} is made again each time")


def put_in_place_of_folder(what: str, place: Path, aside: Path) -> None:
    """The same for the folder of an object, which a peer makes again as well."""
    for number in range(1000):
        place.rename(aside / f"{number}")
        with contextlib.suppress(FileExistsError):
            PLACED[what](place)
            return
    raise AssertionError(f"{place} is made again each time")


def remove(path: Path) -> None:
    path.unlink() if path.is_symlink() or not path.is_dir() else path.rmdir()


# Each file and each kind once or twice: what is no file is found in one place of the code.
IN_PLACE = [
    ("epoch-1.lock", "link"),
    ("peer-{id}.json", "folder"),
    ("1-{id}.sock", "fifo"),
    ("../authkey", "folder"),
    ("rendezvous.json", "folder"),
]


@pytest.mark.parametrize(("which", "what"), IN_PLACE)
def test_what_else_stands_in_the_place_of_a_file_is_named_once_until_it_is_removed(
    cluster: Cluster, folder: Path, caplog: pytest.LogCaptureFixture, which: str, what: str
) -> None:
    with MemSync[Any](NAME, {"n": 0}, {"network": {"poll": 0.1}}) as mem:
        client = cluster.peer()
        path = (folder / f"{NAME}.d" / which.format(id=mem.id)).resolve()
        put_in_place(what, path)
        until(lambda: str(path) in caplog.text or path.name in caplog.text)
        client.patch({"$inc": {"n": 1}})
        with mock.patch.object(EpochClaim, "repair_as_host", autospec=True) as repair:
            repair.side_effect = repair_as_host
            until(lambda: repair.call_count >= 3)
        assert not path.is_file()
        (line,) = [
            each.getMessage()
            for each in caplog.records
            if path.name in each.getMessage() and each.levelname == "ERROR"
        ]
        assert "remove" in line
        remove(path)
        until(lambda: can_be_connected(path) if path.suffix == ".sock" else is_whole(path))
        newcomer = cluster.peer()
        newcomer.patch({"$inc": {"n": 1}})
        assert cluster.settled([client, newcomer]) == {"n": 2}
        assert mem.get_status()["epoch"] == 1


@pytest.mark.parametrize("what", PLACED)
@pytest.mark.parametrize("which", ["epoch-1.lock", "../authkey"])
def test_a_start_is_refused_where_something_else_stands_in_the_place_of_a_file(
    folder: Path, which: str, what: str
) -> None:
    (folder / f"{NAME}.d").mkdir(mode=0o700)
    path = (folder / f"{NAME}.d" / which).resolve()
    PLACED[what](path)
    with pytest.raises(RendezvousError, match=rf"{path} is .*: remove it"):
        MemSync(NAME, options={"timeout": 1}).start()
    remove(path)
    with MemSync(NAME):
        pass


@pytest.mark.parametrize("what", PLACED)
def test_what_stands_in_the_place_of_the_folder_is_named_until_it_is_removed(
    cluster: Cluster, folder: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    with MemSync[Any](NAME, {"n": 0}, {"network": {"poll": 0.1}}) as mem:
        place = folder / f"{NAME}.d"
        put_in_place_of_folder(what, place, folder)
        place.chmod(0o755) if what == "folder" else None
        until(lambda: f"{place} is" in caplog.text)
        mem.patch({"$inc": {"n": 1}})
        remove(place)
        until(lambda: is_whole(place / "rendezvous.json"))
        newcomer = cluster.peer()
        newcomer.patch({"$inc": {"n": 1}})
        assert mem.wait_for({"n": 2}, timeout=5)


def test_a_folder_with_the_name_of_a_temporary_file_stops_nobody(
    cluster: Cluster, folder: Path
) -> None:
    _, client = cluster.start(2, {"n": 0})
    planted = folder / f"{NAME}.d" / "tmp-planted"
    planted.mkdir()
    (planted / "kept").touch()
    os.utime(planted, (1, 1))
    cluster.kill_host()
    client.patch({"$inc": {"n": 1}})
    assert cluster.host() is client
    assert (planted / "kept").exists()


def test_a_peer_file_that_was_written_to_is_mended(cluster: Cluster, folder: Path) -> None:
    client = cluster.start(2, {"n": 1})[1]
    path = folder / f"{NAME}.d" / f"peer-{client.run(lambda mem: mem.id)}.json"
    before = path.read_bytes()
    path.write_bytes(b"nonsense")
    until(lambda: path.read_bytes() == before)
