"""What the system's table of mounts says about a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from memsync.manager.folder.mounts import NETWORK, file_system, network_file_system

TABLE = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
28 27 0:30 / /home rw,relatime shared:1 master:2 - nfs4 server:/home rw,vers=4.2
29 28 0:31 / /home/me/disk rw - ext4 /dev/vdb rw
30 27 0:32 / /my\040share rw,relatime - cifs //server/my\040share rw
31 27 0:33 / /back\134slash rw - smb3 //server/x rw
32 27 0:34 / /net rw shared:7 - autofs /etc/auto.net rw
33 32 0:35 / /net rw - nfs server:/ rw
34 27 0:36 / /wsl rw - 9p drvfs rw
35 27 0:37 / /ssh rw - fuse.sshfs me@server:/ rw
36 27 0:38 / /größe rw - lustre server:/ rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/tmp/memsync-0", "ext4"),
        ("/home", "nfs4"),
        ("/home/you", "nfs4"),
        ("/homes", "ext4"),
        ("/home/me/disk/memsync", "ext4"),
        ("/home/me/disks", "nfs4"),
        ("/my share/a", "cifs"),
        (r"/my\040share/a", "ext4"),
        ("/back\\slash/a", "smb3"),
        ("/net/a", "nfs"),
        ("/wsl/a", "9p"),
        ("/ssh/a", "fuse.sshfs"),
        ("/größe/a", "lustre"),
    ],
)
def test_the_longest_mount_above_a_path_counts_and_of_two_the_later_one(
    path: str, kind: str
) -> None:
    assert file_system(path, TABLE) == kind


@pytest.mark.parametrize("table", ["", "\n\n", "nonsense", "1 2 3 - ext4", "1 2 3 / / rw"])
def test_a_table_that_says_nothing_is_no_error(table: str) -> None:
    assert file_system("/home", table) is None


def test_which_file_systems_are_of_the_network() -> None:
    assert {"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "afs", "ceph", "lustre"} <= NETWORK
    assert not {"ext4", "tmpfs", "overlay", "9p", "virtiofs", "fuse", "fuseblk"} & NETWORK


def test_a_name_that_is_no_text_is_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    table.write_bytes(b"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / /\xff\xfe rw - nfs s:/ rw\n")
    monkeypatch.setattr("memsync.manager.folder.mounts.MOUNTS", str(table))
    assert network_file_system(Path("/\udcff\udcfe/memsync")) == "nfs"
    assert network_file_system(Path("/elsewhere")) is None
