"""The rendezvous folder: damaged, foreign, forged or unusable, and what `start` says to that."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from memsync import (
    AuthenticationFailedError,
    MemErrors,
    MemSync,
    MemSyncError,
    ProtocolError,
    RendezvousError,
    UsageError,
)
from memsync.manager import MemSyncManager
from memsync.manager.folder.cleaning import clean, clean_if_deserted
from memsync.manager.folder.folder import ObjectFolder
from memsync.manager.folder.held_file import Files
from memsync.manager.transport.dial import dial
from memsync.manager.transport.messages import PROTOCOL
from memsync.testing import NAME, Cluster, Peer, until

pytestmark = pytest.mark.process

NOBODY = 65534


def rendezvous(folder: Path) -> Path:
    """The rendezvous file of the tests' object."""
    return folder / f"{NAME}.d" / "rendezvous.json"


def locatable() -> bool:
    """Whether a plain manager would find the host."""
    try:
        MemSyncManager.locate(NAME)
    except RendezvousError:
        return False
    return True


GARBAGE = [b"", b"\0" * 50, b"{", b"[1, 2]", b"\xff\xfe", b'{"protocol": 1}', b"null", b"[" * 5000]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_damaged_rendezvous_is_refused_by_locate_until_a_start_heals_it(
    folder: Path, garbage: bytes
) -> None:
    with MemSync(NAME, {"n": 1}) as mem:
        address, key = MemSyncManager.locate(NAME)
        assert str(folder) in str(address)
        assert len(key) == 32
    rendezvous(folder).write_bytes(garbage)
    with pytest.raises(RendezvousError, match=r"damaged.*delete") as caught:
        MemSyncManager.locate(NAME)
    assert str(rendezvous(folder)) in str(caught.value)
    assert (caught.value.code, caught.value.outcome) == (
        MemErrors.ERR_RENDEZVOUS,
        "not_applied",
    )
    assert mem.start() == "host"
    assert mem.snapshot() == {"n": 1}
    assert locatable()
    mem.stop()


def test_a_living_host_mends_its_rendezvous_and_newcomers_do_not_need_it(
    cluster: Cluster, folder: Path
) -> None:
    cluster.peer({"marker": "original"})
    for garbage in (b"garbage", None):
        if garbage is None:
            rendezvous(folder).unlink()
        else:
            rendezvous(folder).write_bytes(garbage)
        newcomer = cluster.peer({"marker": "newcomer"})
        assert newcomer.snapshot() == {"marker": "original"}
        until(locatable, 2)


def test_locate_without_a_host_says_so() -> None:
    with pytest.raises(RendezvousError, match="MEMSYNC_DIR"):
        MemSyncManager.locate("nobody")
    with MemSync("somebody"):
        pass
    with pytest.raises(RendezvousError, match="MEMSYNC_DIR"):
        MemSyncManager.locate("somebody")
    with pytest.raises(UsageError):
        MemSyncManager.locate("a/b")


def test_the_key_is_what_the_file_says_at_any_time(cluster: Cluster, folder: Path) -> None:
    """Somebody cleaned the folder, and a newcomer made another key before the host looked."""
    host, client = cluster.start(2, {"n": 0})
    key = (folder / "authkey").read_bytes()
    (folder / "authkey").write_bytes(bytes(reversed(key)))
    newcomer = cluster.peer(start=False)
    assert newcomer.start() == "client"
    newcomer.patch({"$inc": {"n": 1}})
    assert cluster.settled([host, client, newcomer]) == {"n": 1}
    assert (folder / "authkey").read_bytes() == bytes(reversed(key))
    host.kill()
    client.patch({"$inc": {"n": 1}})
    assert cluster.settled([client, newcomer]) == {"n": 2}


def test_a_living_group_mends_a_damaged_key(cluster: Cluster, folder: Path) -> None:
    host = cluster.peer({"n": 0})
    (folder / "authkey").write_bytes(b"short")
    until(lambda: len((folder / "authkey").read_bytes()) == 32)
    newcomer = cluster.peer(start=False)
    assert newcomer.start() == "client"
    assert (folder / "authkey").stat().st_mode & 0o777 == 0o600
    assert cluster.settled([host, newcomer]) == {"n": 0}


def test_a_host_of_another_key_is_told_of(folder: Path) -> None:
    """A rendezvous that leads to the host of another folder."""
    host = MemSync(NAME)
    host.start()
    address, key = MemSyncManager.locate(NAME)
    try:
        with pytest.raises(AuthenticationFailedError, match="authkey") as caught:
            dial(address, bytes(reversed(key)), b"", timeout=5)
        assert (caught.value.code, caught.value.outcome) == (MemErrors.ERR_AUTH, "not_applied")
    finally:
        host.stop()


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 33])
def test_a_damaged_key_is_made_anew_by_who_starts(
    cluster: Cluster, folder: Path, key: bytes
) -> None:
    (folder / "authkey").touch(mode=0o600)
    (folder / "authkey").write_bytes(key)
    host, client = cluster.start(2, {"n": 0})
    assert len((folder / "authkey").read_bytes()) == 32
    client.patch({"$inc": {"n": 1}})
    assert cluster.settled([host, client]) == {"n": 1}


def lock_content(protocol: object) -> bytes:
    """A lock file as a peer of that protocol number might write it."""
    facts = {"protocol": protocol, "name": NAME, "epoch": 1, "id": "ab", "pid": 4711}
    return json.dumps({**facts, "address": "/nowhere"}).encode()


def test_a_living_host_of_another_protocol_is_named_with_both_numbers(folder: Path) -> None:
    lock = folder / f"{NAME}.d" / "epoch-1.lock"
    lock.parent.mkdir(mode=0o700)
    lock.write_bytes(lock_content(99))
    mem = MemSync(NAME, {"n": 1})
    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(
            ProtocolError, match=rf"4711.*99.*protocol {PROTOCOL}\b.*one version"
        ) as caught:
            mem.start()
        assert (caught.value.code, caught.value.outcome) == (
            MemErrors.ERR_PROTOCOL,
            "not_applied",
        )
        assert mem.get_status()["status"] == "stopped"
    assert mem.start() == "host"  # the other one has died
    mem.stop()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", lock_content(None), lock_content(99), b'{"address": [1]}']
    + [json.dumps({"protocol": 1, "address": a, "pid": "x"}).encode() for a in (None, 5, [], {})],
)
def test_a_dead_lock_with_any_content_is_passed_over(folder: Path, content: bytes) -> None:
    lock = folder / f"{NAME}.d" / "epoch-7.lock"
    lock.parent.mkdir(mode=0o700)
    lock.write_bytes(content)
    with MemSync(NAME, {"n": 1}) as mem:
        assert mem.get_status()["status"] == "host"
        assert mem.epoch == 8


@pytest.mark.parametrize("content", [b"", b"{", b"null", b'{"protocol": 1}'])
def test_a_held_lock_with_damaged_content_is_a_clear_error(folder: Path, content: bytes) -> None:
    lock = folder / f"{NAME}.d" / "epoch-7.lock"
    lock.parent.mkdir(mode=0o700)
    lock.write_bytes(content)
    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(MemSyncError, match=str(lock)):
            MemSync(NAME, options={"timeout": 1}).start()


def test_a_rendezvous_of_another_protocol_is_named_by_locate(folder: Path) -> None:
    with MemSync(NAME):
        content = json.loads(rendezvous(folder).read_bytes())
    content["protocol"] = 99
    rendezvous(folder).write_text(json.dumps(content))
    with pytest.raises(ProtocolError, match="99"):
        MemSyncManager.locate(NAME)


def test_links_in_the_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("{}")
    (folder / f"{NAME}.d").mkdir(mode=0o700)
    (folder / f"{NAME}.d" / "epoch-1.lock").symlink_to(target)
    with pytest.raises(RendezvousError, match="is a link"):
        MemSync(NAME, options={"timeout": 1}).start()


# -- folders that cannot be used, as a user who is not root ----------------------------------------


def as_nobody(mem: MemSync) -> None:
    """Give up the rights of root, before which no folder is closed."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


@pytest.fixture
def nobody(cluster: Cluster, folder: Path) -> Callable[[Path], Peer]:
    """Makes peers of an unprivileged user with a given folder."""
    folder.chmod(0o755)

    def peer(place: Path) -> Peer:
        made = cluster.peer({"n": 1}, folder=place, start=False)
        made.run(as_nobody)
        return made

    return peer


def own(path: Path) -> None:
    """Give a folder to the unprivileged user."""
    if os.getuid() == 0:
        os.chown(path, NOBODY, NOBODY)


def refusal(peer: Peer, place: Path) -> str:
    """The message with which `start` fails; nothing is left behind."""
    before = sorted(place.parent.rglob("*"))
    with pytest.raises(RendezvousError, match=r"set MEMSYNC_DIR") as caught:
        peer.start()
    assert (caught.value.code, caught.value.outcome) == (MemErrors.ERR_RENDEZVOUS, "not_applied")
    assert str(place) in str(caught.value)
    assert sorted(place.parent.rglob("*")) == before
    assert peer.status()["status"] == "stopped"
    return str(caught.value)


def test_a_folder_that_cannot_be_made_is_named(nobody, folder: Path) -> None:
    place = folder / "closed" / "inside"
    place.parent.mkdir()
    place.parent.chmod(0o555)
    assert "cannot be made" in refusal(nobody(place), place)


def test_a_folder_that_cannot_be_written_is_named_and_start_may_be_repeated(
    nobody, folder: Path
) -> None:
    place = folder / "mine"
    place.mkdir(mode=0o500)
    own(place)
    peer = nobody(place)
    assert "cannot be written" in refusal(peer, place)
    place.chmod(0o700)
    assert peer.start() == "host"
    peer.patch({"$inc": {"n": 1}})
    assert peer.snapshot() == {"n": 2}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make folders of other users")
@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_a_folder_of_another_user_is_refused(nobody, folder: Path, mode: int) -> None:
    place = folder / "roots"
    place.mkdir()
    place.chmod(mode)
    message = refusal(nobody(place), place)
    assert "belongs to user 0" in message
    assert str(NOBODY) in message


def test_a_folder_that_is_open_to_others_is_refused(nobody, folder: Path) -> None:
    place = folder / "open"
    place.mkdir()
    place.chmod(0o755)
    own(place)
    peer = nobody(place)
    assert f"chmod 700 {place}" in refusal(peer, place)


def test_a_folder_that_is_a_link_or_a_file_is_refused(nobody, folder: Path) -> None:
    (folder / "target").mkdir(mode=0o700)
    own(folder / "target")
    link = folder / "link"
    link.symlink_to(folder / "target")
    file = folder / "file"
    file.write_text("")
    for place in (link, file):
        assert "is a link or not a folder" in refusal(nobody(place), place)


def test_an_object_folder_that_cannot_be_written_is_named(nobody, folder: Path) -> None:
    place = folder / "mine"
    place.mkdir(mode=0o700)
    (place / f"{NAME}.d").mkdir(mode=0o500)
    for path in (place, place / f"{NAME}.d"):
        own(path)
    peer = nobody(place)
    assert "cannot be written" in refusal(peer, place / f"{NAME}.d")


def plant_link(path: Path) -> None:
    (path.parent / "target").mkdir(mode=0o700)
    path.symlink_to(path.parent / "target")


def plant_open(path: Path) -> None:
    path.mkdir()
    path.chmod(0o750)


def plant_foreign(path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can make folders of other users")
    path.mkdir(mode=0o700)
    os.chown(path, NOBODY, NOBODY)


PLANTED = {
    "is a link": plant_link,
    "is open to other users": plant_open,
    "belongs to user": plant_foreign,
}


@pytest.mark.parametrize("complaint", PLANTED)
def test_an_object_folder_that_is_not_private_is_refused(folder: Path, complaint: str) -> None:
    place = folder / f"{NAME}.d"
    PLANTED[complaint](place)
    mem = MemSync(NAME)
    with pytest.raises(RendezvousError, match=rf"{place} {complaint}.*set MEMSYNC_DIR"):
        mem.start()
    assert list(place.iterdir()) == []
    place.unlink() if place.is_symlink() else place.rmdir()
    assert mem.start() == "host"
    mem.stop()


def test_a_key_that_is_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    (folder / "authkey").symlink_to(key)
    with pytest.raises(RendezvousError, match="authkey is a link"):
        MemSync(NAME).start()


# -- network file systems --------------------------------------------------------------------------


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
    mounted, folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    place = folder / "of the net" / "memsync"
    mounted(kind, place.parent)
    monkeypatch.setenv("MEMSYNC_DIR", str(place))
    mem = MemSync(NAME, {"n": 1})
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
    mounted, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "share").mkdir()
    (folder / "home").symlink_to(folder / "share")
    mounted("nfs", folder / "share")
    monkeypatch.setenv("MEMSYNC_DIR", str(folder / "home" / "memsync"))
    with pytest.raises(RendezvousError, match=r"\(nfs\)"):
        MemSync(NAME).start()


@pytest.mark.parametrize("kind", ["9p", "virtiofs", "overlay", "tmpfs", "fuse"])
def test_file_systems_of_one_machine_are_taken(mounted, folder: Path, kind: str) -> None:
    mounted(kind, folder)
    with MemSync(NAME, {"n": 1}) as mem:
        assert mem.snapshot() == {"n": 1}


def test_where_the_system_does_not_tell_of_mounts_any_folder_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("memsync.manager.folder.mounts.MOUNTS", "/nonexistent")
    with MemSync(NAME, {"n": 1}) as mem:
        assert mem.snapshot() == {"n": 1}


# -- long names ------------------------------------------------------------------------------------


def test_long_folders_and_long_names_work(cluster: Cluster, folder: Path) -> None:
    place = folder / ("f" * 100) / ("g" * 100)
    name = "N" * 300
    host = cluster.peer({"n": 1}, folder=place, name=name)
    client = cluster.peer(folder=place, name=name)
    other = cluster.peer({"n": 7}, folder=place, name=name[:-1] + "n")
    client.patch({"$inc": {"n": 1}})
    host.kill()
    client.patch({"$inc": {"n": 1}})
    assert client.snapshot() == {"n": 3}
    assert other.snapshot() == {"n": 7}
    address = client.status()["host"]["address"]
    assert not isinstance(address, str) or len(os.fsencode(address)) <= 100


@pytest.fixture
def long_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The temp folder has a name that is too long for a socket, and no other one is stated."""
    temp = tmp_path / ("t" * 200)
    temp.mkdir()
    monkeypatch.delenv("MEMSYNC_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(temp))
    return temp / f"memsync-{os.getuid()}"


def test_a_long_temp_folder_works_and_its_short_one_goes_with_the_host(long_place: Path) -> None:
    name = "N" * 300
    with MemSync(name, {"n": 1}) as host, MemSync(name) as client:
        assert client.patch({"$inc": {"n": 1}}) == host.version
        assert long_place.stat().st_mode & 0o777 == 0o700
        socket = Path(host.get_status()["host"]["address"])
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        assert len(os.fsencode(socket)) <= 100
    assert not socket.parent.exists()


@pytest.mark.parametrize("complaint", PLANTED)
def test_a_short_folder_that_is_not_private_is_not_used(long_place: Path, complaint: str) -> None:
    with MemSync(NAME) as mem:
        short = Path(mem.get_status()["host"]["address"]).parent
    assert not short.exists()
    try:
        if complaint == "is a link":
            short.symlink_to(long_place)
        else:
            PLANTED[complaint](short)
        with MemSync(NAME, {"n": 1}) as host, MemSync(NAME) as client:
            assert not isinstance(host.get_status()["host"]["address"], str)
            client.patch({"$inc": {"n": 1}})
            assert host.snapshot() == {"n": 2}
            assert not list(short.glob("*.sock"))
    finally:
        short.unlink() if short.is_symlink() else short.rmdir()


def test_names_that_differ_in_case_only_are_different_objects(cluster: Cluster) -> None:
    peers = [cluster.peer({"name": name}, name=name) for name in ("abc", "ABC", "Abc")]
    assert [peer.status()["status"] for peer in peers] == ["host"] * 3
    assert [peer.snapshot("name") for peer in peers] == ["abc", "ABC", "Abc"]


@pytest.fixture
def witness_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one place of witnesses of this process, with those of this user in it."""
    root = tmp_path / "roots"
    root.mkdir()
    monkeypatch.setattr("memsync.manager.folder.held_file.WITNESS_ROOTS", (str(root),))
    return root / f"memsync-{os.getuid()}"


@pytest.mark.parametrize("which", ["of the user", "of the object"])
@pytest.mark.parametrize("complaint", ["missing", *PLANTED])
def test_where_no_witness_can_be_kept_the_lock_alone_does(
    folder: Path, witness_root: Path, complaint: str, which: str
) -> None:
    planted = witness_root
    if which == "of the object":
        (planted,) = Files().witness_folder(folder / f"{NAME}.d")
        planted.rmdir()
    if complaint == "missing":
        shutil.rmtree(witness_root.parent)
    else:
        PLANTED[complaint](planted)
    place = ObjectFolder(folder, NAME)
    lock = place.publish_lock(1, "ab", 7, "/x")
    assert lock is not None
    assert not list(witness_root.parent.rglob("*.lock"))
    assert place.still_hosts(1, "ab")
    assert not place.still_hosts(1, "cd")
    lock.close()
    assert not place.still_hosts(1, "ab")


def test_deleted_witnesses_are_made_again_with_their_folders(
    folder: Path, witness_root: Path
) -> None:
    with MemSync(NAME, {"n": 1}, {"network": {"poll": 0.1}}) as mem:
        (witness,) = witness_root.glob("*/epoch-1.lock")
        shutil.rmtree(witness_root)
        until(witness.exists, 2)
        assert witness_root.stat().st_mode & 0o777 == 0o700
        rendezvous(folder).unlink()
        until(rendezvous(folder).exists, 2)
        assert (mem.get_status()["status"], mem.epoch) == ("host", 1)


def test_an_epoch_whose_lock_was_deleted_is_known_by_its_witness(folder: Path) -> None:
    place = ObjectFolder(folder, NAME)
    lock = place.publish_lock(3, "ab", 7, "/x")
    assert lock is not None
    (place.path / "epoch-3.lock").unlink()
    record = place.reign()
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


@pytest.mark.parametrize("call", range(1, 6))
def test_a_start_outlives_the_deletion_of_the_folder_under_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """The folder goes before the key, the peer file, the lock or its witness is published."""
    publish, calls = Files.publish, []

    def unlucky(self: Files, path: Path, data: bytes, place: Path):
        calls.append(path)
        if len(calls) == call:
            shutil.rmtree(folder)
        return publish(self, path, data, place)

    monkeypatch.setattr(Files, "publish", unlucky)
    with MemSync(NAME, {"n": 1}, {"network": {"poll": 0.1}}) as mem:
        assert mem.patch({"$inc": {"n": 1}}) > 0
        until(lambda: (folder / f"{NAME}.d" / "rendezvous.json").exists())
        assert len(calls) >= min(call, 4)


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


def remove(path: Path) -> None:
    path.unlink() if path.is_symlink() or not path.is_dir() else path.rmdir()


HELD = ["epoch-1.lock", "peer-{id}.json", "1-{id}.sock", "../authkey"]


@pytest.mark.parametrize(
    ("which", "what"), [*itertools.product(HELD, PLACED), ("rendezvous.json", "folder")]
)
def test_what_else_stands_in_the_place_of_a_file_is_named_once_until_it_is_removed(
    cluster: Cluster, folder: Path, caplog, which: str, what: str
) -> None:
    with MemSync(NAME, {"n": 0}, {"network": {"poll": 0.1}}) as mem:
        client = cluster.peer()
        path = (folder / f"{NAME}.d" / which.format(id=mem.id)).resolve()
        put_in_place(what, path)
        until(lambda: str(path) in caplog.text or path.name in caplog.text)
        client.patch({"$inc": {"n": 1}})
        time.sleep(0.5)
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
    cluster: Cluster, folder: Path, caplog, what: str
) -> None:
    with MemSync(NAME, {"n": 0}, {"network": {"poll": 0.1}}) as mem:
        place = folder / f"{NAME}.d"
        place.rename(folder / "moved")
        put_in_place(what, place)
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


def test_a_lock_with_the_highest_number_is_named(cluster: Cluster, folder: Path) -> None:
    _, client = cluster.start(2, {"n": 0})
    planted = folder / f"{NAME}.d" / f"epoch-{'9' * 18}.lock"
    planted.touch()
    until(lambda: str(planted) in (client.status()["reason"] or ""))
    with pytest.raises(RendezvousError, match=f"{planted}.*remove that file"):
        MemSync(NAME).start()
    planted.unlink()
    client.patch({"$inc": {"n": 1}})
    assert cluster.settled() == {"n": 1}


def test_what_cannot_be_made_again_is_said_once_and_tried_at_each_poll(
    cluster: Cluster, folder: Path, monkeypatch, caplog
) -> None:
    host = cluster.peer({"n": 0})
    tries: list[float] = []
    link = os.link

    def full_disk(source: Path, target: Path) -> None:
        if Path(target).name.startswith("peer-"):
            tries.append(time.monotonic())
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        link(source, target)

    with MemSync(NAME, options={"network": {"poll": 0.1}}) as mem:
        monkeypatch.setattr("memsync.manager.folder.held_file.os.link", full_disk)
        path = folder / f"{NAME}.d" / f"peer-{mem.id}.json"
        path.unlink()
        until(lambda: len(tries) >= 10)
        assert tries[9] - tries[0] > 5 * 0.1  # what it makes in vain does not wake it
        (line,) = [each.getMessage() for each in caplog.records if "peer-" in each.getMessage()]
        assert "cannot repair the rendezvous folder" in line
        monkeypatch.undo()
        monkeypatch.setenv("MEMSYNC_DIR", str(folder))
        until(lambda: is_whole(path))
        mem.patch({"$inc": {"n": 1}})
        assert host.snapshot() == {"n": 1}


def test_an_error_of_the_system_ends_a_role_and_not_the_peer(
    cluster: Cluster, monkeypatch, caplog
) -> None:
    host = cluster.peer({"n": 0})
    last_heartbeat = ObjectFolder.last_heartbeat
    errors = [OSError(errno.EIO, os.strerror(errno.EIO))]

    def unlucky(self: ObjectFolder, epoch: int) -> int:
        if errors:
            raise errors.pop()
        return last_heartbeat(self, epoch)

    with MemSync(NAME, options={"network": {"poll": 0.1}}) as mem:
        monkeypatch.setattr(ObjectFolder, "last_heartbeat", unlucky)
        until(lambda: not errors and mem.get_status()["status"] == "client")
        mem.patch({"$inc": {"n": 1}})
        assert host.snapshot() == {"n": 1}
        assert "Input/output error" in mem.get_status()["reason"]
    (told,) = [each for each in caplog.records if "is given up" in each.getMessage()]
    assert told.exc_info


def can_be_connected(path: Path) -> bool:
    """Whether somebody listens there."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


def is_whole(path: Path) -> bool:
    """Whether it is a lock, a peer file or a key."""
    try:
        found = Files().inspect(path)
    except RendezvousError:
        return False
    content = found[1] if found is not None else b""
    return len(content) == 32 if path.name == "authkey" else content.startswith(b"{")
