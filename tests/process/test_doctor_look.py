"""``memsync doctor`` in front of real groups: it sees what is there, changes and joins nothing."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from memsync import MemSync, WriteTimeoutError
from memsync.cli.app import app
from memsync.cli.doctor import looking
from memsync.cli.doctor.facts import Process
from memsync.cli.doctor.findings import judge
from memsync.manager import mounts
from memsync.manager.files import Files
from memsync.testing import NAME, Cluster, until

pytestmark = pytest.mark.process


def doctor(*arguments: str) -> tuple[int, str]:
    """The exit status and the output."""
    result = CliRunner().invoke(app, ["doctor", *arguments])
    return result.exit_code, result.output


def wrong(name: str | None = None) -> list[str]:
    found = judge(looking.look(name, patience=0.5))
    return [each.text for each in found if each.level == "wrong" and each.about != "system"]


def notes(name: str | None = None) -> str:
    found = judge(looking.look(name, patience=0.5))
    return "\n".join(each.text for each in found if each.about == f"object {NAME}")


def seen(folder: Path) -> dict[str, Any]:
    """All files of a folder and of its witnesses, to see that they stay as they are."""
    place = folder / f"{NAME}.d"
    places = [folder, place, *Files().existing_witnesses(place)]
    return {
        str(path): (path.lstat().st_ino, path.read_bytes() if path.is_file() else b"")
        for each in places
        for path in each.iterdir()
    }


def test_an_empty_folder_is_well_and_stays_empty(folder: Path) -> None:
    assert wrong() == []
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_missing_is_not_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMSYNC_DIR", str(folder / "a" / "b"))
    assert wrong() == []
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_on_a_network_file_system_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    rows = tmp_path / "mountinfo"
    rows.write_text(f"30 21 0:40 / {folder.resolve()} rw - nfs4 server:/ rw\n")
    monkeypatch.setattr(mounts, "MOUNTS", str(rows))
    monkeypatch.setenv("MEMSYNC_DIR", str(folder if exists else folder / "inside"))
    (text,) = wrong()
    assert "network file system (nfs4)" in text


def test_a_folder_that_cannot_be_made_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "file").touch()
    monkeypatch.setenv("MEMSYNC_DIR", str(folder / "file" / "inside"))
    assert "cannot be made" in wrong()[0]


def test_a_healthy_group_is_described_and_not_touched(cluster: Cluster, folder: Path) -> None:
    host, client = cluster.start(2, {"n": 1}, {"network": {"maxWriters": 2}})
    until(lambda: host.status()["host"]["connections"] == 1)
    before, status, files = client.status(), host.status(), seen(folder)
    assert wrong(NAME) == []
    told = notes()
    assert f"host: process {host.pid} (" in told
    assert f"peer {host.run(lambda mem: mem.id)}, epoch 1, since 20" in told
    assert f"process {client.pid} (" in told
    assert "it answered in" in told
    assert "all 2 places for writers are taken" in told
    assert (client.status(), host.status(), seen(folder)) == (before, status, files)


def test_all_is_told_for_machines_as_well_and_the_key_never(cluster: Cluster, folder: Path) -> None:
    host = cluster.peer()
    _, output = doctor("--json")
    told = json.loads(output)
    (shared,) = told["facts"]["objects"]
    assert shared["name"] == NAME
    assert {lock["process"]["pid"] for lock in shared["locks"]} == {host.pid}
    assert told["well"] == all(each["level"] != "wrong" for each in told["findings"])
    key = (folder / "authkey").read_bytes()
    assert key.hex() not in output
    assert repr(key)[2:-1] not in output


def test_a_host_answers_also_without_proxies_and_does_not_complain(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "memsync.server")
    with MemSync(NAME, {}, {"manager": {"proxies": False}}):
        assert wrong() == []
        assert "it answered in" in notes()
    assert [record for record in caplog.records if record.name == "memsync.server"] == []


def test_a_frozen_host_is_named_within_a_bounded_time(cluster: Cluster) -> None:
    host = cluster.peer()
    host.pause()
    found = wrong()
    assert "the host is stopped (state T)" in found[0]
    assert "no answer within 0.5 s" in found[1]
    host.resume()
    assert wrong() == []


def test_an_object_whose_files_were_deleted_under_frozen_processes_is_named(
    cluster: Cluster, folder: Path
) -> None:
    host = cluster.peer({"n": 0}, {"network": {"poll": 0.1}})
    host.pause()
    shutil.rmtree(folder / f"{NAME}.d")
    (found,) = wrong(NAME)
    assert f"all files of the object '{NAME}' were deleted, while process {host.pid}" in found
    assert wrong() == [found]
    assert "nobody shares" in wrong("other")[0]
    host.resume()
    until(lambda: wrong(NAME) == [])


def test_a_frozen_peer_is_named(cluster: Cluster) -> None:
    _, client = cluster.start(2)
    client.pause()
    (found,) = wrong()
    assert f"process {client.pid}" in found
    assert "keeps its writer's place" in found
    client.resume()


def test_what_a_dead_group_left_behind_is_stale_and_nothing_is_wrong(cluster: Cluster) -> None:
    for peer in cluster.start(2):
        peer.kill()
    assert wrong() == []
    told = notes()
    assert "nobody shares it at the moment; the last epoch was" in told
    assert "stale files of dead peers" in told
    assert "stale sockets of dead hosts" in told


def test_peers_without_a_host_are_named(cluster: Cluster) -> None:
    host = cluster.peer()
    client = cluster.peer(options={"clientOnly": True})
    host.kill()
    until(lambda: client.status()["status"] == "starting")
    assert "all peers that live are clientOnly" in wrong()[0]
    reason = until(lambda: (r := client.status()["reason"]) and "start a peer" in r and r)
    with pytest.raises(WriteTimeoutError, match=f"there is no host: {reason}"):
        client.run(lambda mem: mem.patch({"$set": {"n": 1}}, timeout=0.1))
    assert f"it has no host: {reason}" in wrong()[1]
    other = cluster.peer()
    assert client.patch({"$set": {"n": 2}}) > 0
    assert wrong() == []
    other.pause()
    reason = until(lambda: (r := client.status()["reason"]) and "continue or end" in r and r, 30)
    assert f"process {other.pid}" in reason
    assert "writes wait" in wrong()[0]
    assert "until it is replaced" not in wrong()[0]


def test_a_host_whose_files_are_damaged_is_told_as_far_as_can_be(
    cluster: Cluster, folder: Path
) -> None:
    host = cluster.peer(options={"network": {"poll": 60, "watch": "none", "lease": 100}})
    place = folder / f"{NAME}.d"
    (place / "rendezvous.json").write_text("[" * 100_000)
    (place / "peer-00ab.json").write_text('{"pid": true, "roles": 7, "maxWriters": "x"}')
    (place / "epoch-0000.lock").write_text("of no kind that is known")
    (place / "epoch-9.lock").symlink_to("nowhere")
    found = wrong()
    assert f"{place}/epoch-9.lock is a link" in found[0]
    told = notes()
    assert f"host: process {host.pid}" in told
    assert "names another host" in told
    assert "files of dead peers: 00ab" in told
    (place / "epoch-9.lock").unlink()


def test_a_socket_at_which_nobody_listens_is_no_answer(cluster: Cluster) -> None:
    host = cluster.peer(options={"network": {"poll": 60, "watch": "none"}})
    address = Path(host.status()["host"]["address"])
    address.unlink()
    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind(str(address))
        assert "the host does not answer" in wrong()[0]


def test_a_silent_listener_costs_a_bounded_time(cluster: Cluster) -> None:
    host = cluster.peer(options={"network": {"poll": 60, "watch": "none"}})
    address = Path(host.status()["host"]["address"])
    address.unlink()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(address))
        silent.listen(1)
        assert "no answer within 0.5 s" in wrong()[0]


@pytest.mark.parametrize(
    ("content", "mode", "text"),
    [(b"short", 0o600, "5 bytes"), (b"k" * 32, 0o644, "open to others")],
)
def test_a_key_that_cannot_be_used_is_named(
    cluster: Cluster, folder: Path, content: bytes, mode: int, text: str
) -> None:
    (folder / "authkey").write_bytes(content)
    (folder / "authkey").chmod(mode)
    assert text in wrong()[0]


def test_another_key_is_named(cluster: Cluster, folder: Path, monkeypatch) -> None:
    cluster.peer()
    key = looking._look_at_key(folder, Files())
    assert key[1] is None
    monkeypatch.setattr(looking, "_look_at_key", lambda *_: (b"x" * 32, None))
    assert "has another authkey" in wrong()[0]


def test_an_open_folder_is_named_and_its_objects_are_told_all_the_same(
    cluster: Cluster, folder: Path
) -> None:
    host = cluster.peer()
    folder.chmod(0o755)
    found = wrong()
    told = notes()
    folder.chmod(0o700)
    assert "open to other users" in found[0]
    assert f"host: process {host.pid}" in told
    assert "the host was not asked" in told


def test_errors_of_the_doctor_s_own_hide_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = cluster.peer()

    def fail(*_: object) -> None:
        raise LookupError("on purpose")

    for each in ("limits", "_look_at_folder", "_orphans"):
        monkeypatch.setattr(looking, each, fail)
    status, output = doctor()
    assert status == 1
    assert output.count("not looked at") == 3
    assert f"host: process {host.pid}" in output


@pytest.mark.parametrize("name", ["a/b", "", "x" * 301])
def test_a_name_that_cannot_be_one_is_bad_input(name: str) -> None:
    status, output = doctor(name)
    assert status == 2
    assert "a name is" in output


def test_the_exit_status_says_whether_something_is_wrong(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "limits", lambda root: ())  # those of the machine may be low
    cluster.peer()
    status, output = doctor(NAME)
    assert (status, output.splitlines()[-1]) == (0, "all is well")
    status, output = doctor("another")
    assert (status, output.splitlines()[-1]) == (1, "1 to be looked at")
    assert "nobody shares an object named 'another' here" in output


def test_names_that_do_not_fit_into_a_path_are_found(cluster: Cluster) -> None:
    name = "Long" * 70
    cluster.peer(name=name)
    (shared,) = looking.look().objects
    assert shared.name == name
    assert looking.look(name).objects[0].answer is not None


def test_an_unusable_temp_folder_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looking._ignored({"TMPDIR": "/no/such/folder"}) == "/no/such/folder"
    assert looking._ignored({"MEMSYNC_DIR": "/x", "TMPDIR": "/no/such/folder"}) is None
    assert looking._chosen_by({"MEMSYNC_DIR": "/x"}) == "MEMSYNC_DIR"
    here = looking.tempfile.gettempdir()
    assert looking._chosen_by({"TMPDIR": here}) == "TMPDIR"
    assert looking._chosen_by({"TMPDIR": "/no/such/folder"}) is None


def test_the_system_tells_of_this_process() -> None:
    found = looking.limits(Path("/"))
    assert all(limit.most > 0 for limit in found)
    from memsync.cli.doctor.system import process

    own = process(os.getpid())
    if Path("/proc/self/stat").exists():
        assert own.state in ("R", "S")
        assert own.open_files is not None
        assert "python" in (own.program or "")
    assert process(2**30) == Process(2**30)
