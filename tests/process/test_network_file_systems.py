"""A folder on a network file system is refused, because its locks cannot be trusted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memsync import MemErrors, MemSync, RendezvousError
from memsync.testing import NAME

pytestmark = pytest.mark.process


@pytest.fixture
def mounted(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Has the system say that a file system of some type is mounted at a place."""

    def mount(kind: str, at: Path) -> None:
        mountinfo = tmp_path / "mountinfo"
        point = str(at).replace(" ", r"\040")
        mountinfo.write_text(
            "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
            f"90 27 0:50 / {point} rw,relatime shared:9 - {kind} server:/export rw\n"
        )
        monkeypatch.setattr("memsync.manager.folder.mounts.MOUNTS", str(mountinfo))

    return mount


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_folder_on_a_network_file_system_is_refused(
    mounted: Callable[[str, Path], None], folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    place = folder / "of the net" / "memsync"
    mounted(kind, place.parent)
    monkeypatch.setenv("MEMSYNC_DIR", str(place))
    mem = MemSync[Any](NAME, {"n": 1})
    with pytest.raises(RendezvousError) as caught:
        mem.start()
    for word in (str(place), f"({kind})", "set MEMSYNC_DIR", "local disk"):
        assert word in str(caught.value)
    assert (caught.value.code, caught.value.outcome) == (MemErrors.ERR_RENDEZVOUS, "not_applied")
    assert not place.parent.exists()
    monkeypatch.setenv("MEMSYNC_DIR", str(folder / "of the disk"))
    with MemSync(NAME, {"n": 1}) as mem:
        assert mem.snapshot() == {"n": 1}


def test_a_link_on_the_way_to_a_network_file_system_is_followed(
    mounted: Callable[[str, Path], None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "share").mkdir()
    (folder / "home").symlink_to(folder / "share")
    mounted("nfs", folder / "share")
    monkeypatch.setenv("MEMSYNC_DIR", str(folder / "home" / "memsync"))
    with pytest.raises(RendezvousError, match=r"\(nfs\)"):
        MemSync(NAME).start()


@pytest.mark.parametrize("kind", ["9p", "virtiofs", "overlay", "tmpfs", "fuse"])
def test_file_systems_of_one_machine_are_taken(
    mounted: Callable[[str, Path], None], folder: Path, kind: str
) -> None:
    mounted(kind, folder)
    with MemSync[Any](NAME, {"n": 1}) as mem:
        assert mem.snapshot() == {"n": 1}


def test_where_the_system_does_not_tell_of_mounts_any_folder_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("memsync.manager.folder.mounts.MOUNTS", "/nonexistent")
    with MemSync[Any](NAME, {"n": 1}) as mem:
        assert mem.snapshot() == {"n": 1}
