"""Recognises network file systems, on which a lock does not prove that its holder lives.

``flock`` on a network file system may be local to each machine, may be lost when the server
restarts, or may stay held after its holder has died. A socket does not reach another machine.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTS = "/proc/self/mountinfo"  # see proc_pid_mountinfo(5)

# 9p and virtiofs are left out: containers and virtual machines have their whole disk on them, and
# all peers run inside, where one kernel keeps the locks. A bare "fuse" may be any file system.
NETWORK = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "afs", "coda", "ceph"),
        *("glusterfs", "lustre", "gpfs", "beegfs", "fhgfs", "orangefs", "pvfs2", "panfs", "wekafs"),
        *("acfs", "gfs2", "ocfs2"),  # shared disks
        *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.cephfs", "fuse.smb"),
        *("fuse.nfs", "fuse.moosefs", "fuse.mfs", "fuse.lizardfs", "fuse.juicefs", "fuse.davfs"),
        *("fuse.s3fs", "fuse.gcsfuse", "fuse.goofys", "fuse.mount-s3", "fuse.blobfuse"),
        *("fuse.blobfuse2", "fuse.rclone", "fuse.curlftpfs", "fuse.seaweedfs"),
    }
)


def network_file_system(folder: Path) -> str | None:
    """The type of the network file system that a folder is on, or will be on once it is made.

    None for a local file system, and where the system has no table of mounts (macOS).
    """
    try:
        mountinfo = Path(MOUNTS).read_bytes()
    except OSError:
        return None
    kind = file_system(os.path.realpath(folder), os.fsdecode(mountinfo))
    return kind if kind in NETWORK else None


def file_system(path: str, mountinfo: str) -> str | None:
    """The type of the file system of a resolved path, by the rows of ``mountinfo``.

    >>> rows = "21 1 8:1 / / rw - ext4 /dev/sda rw\\n30 21 0:40 / /home rw - nfs4 server:/ rw"
    >>> file_system("/home/me", rows), file_system("/homes", rows)
    ('nfs4', 'ext4')
    """
    best, kind = "", None
    for row in mountinfo.splitlines():
        mount, _, device = row.partition(" - ")
        facts, types = mount.split(" "), device.split(" ")
        if len(facts) < 5 or not types[0]:
            continue
        point = _unescaped(facts[4])
        is_above = path == point or path.startswith(point.rstrip("/") + "/")
        if is_above and len(point) >= len(best):  # a later mount covers an earlier one
            best, kind = point, types[0]
    return kind


def _unescaped(text: str) -> str:
    """A path in which spaces and the like are written in octal: ``/my\\040disk``."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
