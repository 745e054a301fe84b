"""``memsync doctor`` in front of real groups: it sees what is there, changes and joins nothing."""

from __future__ import annotations

import json
import logging
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync, WriteTimeoutError
from memsync.cli import main
from memsync.cli.doctor import collect as collect_module
from memsync.cli.doctor.checks import Finding, check
from memsync.cli.doctor.collect import collect, process_facts, reason_for_folder
from memsync.manager.folder import mounts
from memsync.manager.folder.held_file import Files
from memsync.testing import NAME, PATIENCE, Cluster, Peer, until

pytestmark = pytest.mark.process


def wait_for_reason(peer: Peer, part: str, timeout: float = PATIENCE) -> str:
    """Wait until the peer's status gives a reason with these words; returns the reason."""
    until(lambda: part in (peer.status()["reason"] or ""), timeout)
    return str(peer.status()["reason"])


def findings(name: str | None = None, timeout: float = PATIENCE) -> list[Finding]:
    return [each for each in check(collect(name, timeout=timeout)) if each.about != "system"]


def wrong(name: str | None = None, timeout: float = PATIENCE) -> list[str]:
    return [each.text for each in findings(name, timeout) if each.level == "wrong"]


def shown() -> str:
    return "\n".join(each.text for each in findings() if each.about == f"object {NAME}")


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
    assert "cannot be created" in wrong()[0]


def test_a_healthy_group_is_described_and_not_touched(cluster: Cluster, folder: Path) -> None:
    host, client = cluster.start(2, {"n": 1}, {"network": {"maxWriters": 2}})
    until(lambda: host.status()["host"]["connections"] == 1)
    before, status, files = client.status(), host.status(), seen(folder)
    assert wrong(NAME) == []
    text = shown()
    assert f"host: process {host.pid} (" in text
    assert f"peer {host.run(lambda mem: mem.id)}, epoch 1, since 20" in text
    assert f"process {client.pid} (" in text
    assert "the host answered in" in text
    assert "all 2 writers' places are taken" in text
    assert (client.status(), host.status(), seen(folder)) == (before, status, files)


def test_a_host_answers_also_without_proxies_and_does_not_complain(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "memsync.server")
    with MemSync(NAME, {}, {"manager": {"proxies": False}}):
        assert wrong() == []
        assert "the host answered in" in shown()
    assert [record for record in caplog.records if record.name == "memsync.server"] == []


def test_a_frozen_host_is_named_within_a_bounded_time(cluster: Cluster) -> None:
    host = cluster.peer()
    host.pause()
    found = wrong(timeout=0.5)
    assert "the host is stopped (state T)" in found[0]
    assert "no answer within 0.5 s" in found[1]
    host.resume()
    assert wrong() == []


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
    text = shown()
    assert "no process shares it at the moment; the last epoch was" in text
    assert "stale files of dead peers" in text
    assert "stale sockets of dead hosts" in text


def test_peers_without_a_host_are_named(cluster: Cluster) -> None:
    host = cluster.peer()
    client = cluster.peer(options={"clientOnly": True})
    host.kill()
    until(lambda: client.status()["status"] == "starting")
    assert "all running peers are clientOnly" in wrong()[0]
    reason = wait_for_reason(client, "start a peer")
    with pytest.raises(WriteTimeoutError, match=rf"this peer has no host \({reason}"):
        client.run(lambda mem: mem.patch({"$set": {"n": 1}}, timeout=0.1))
    assert f"it has no host: {reason}" in wrong()[1]
    other = cluster.peer()
    assert client.patch({"$set": {"n": 2}}) > 0
    assert wrong() == []
    other.pause()
    reason = wait_for_reason(client, "continue or end", 30)
    assert f"process {other.pid}" in reason
    found = wrong(timeout=0.5)
    assert "writes wait" in found[0]
    assert "until another" not in found[0]


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
        assert "no answer within 0.5 s" in wrong(timeout=0.5)[0]


@pytest.mark.parametrize(
    ("content", "mode", "text"),
    [(b"short", 0o600, "5 bytes"), (b"k" * 32, 0o644, "open to other users")],
)
def test_a_key_that_cannot_be_used_is_named(
    cluster: Cluster, folder: Path, content: bytes, mode: int, text: str
) -> None:
    (folder / "authkey").write_bytes(content)
    (folder / "authkey").chmod(mode)
    assert text in wrong()[0]


def test_an_open_folder_is_named_and_its_objects_are_told_all_the_same(
    cluster: Cluster, folder: Path
) -> None:
    host = cluster.peer()
    folder.chmod(0o755)
    found = wrong()
    text = shown()
    folder.chmod(0o700)
    assert "open to other users" in found[0]
    assert f"host: process {host.pid}" in text
    assert "the host was not contacted" in text


def test_json_has_the_findings_and_the_facts_but_not_the_key(
    cluster: Cluster, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host = cluster.peer()
    main(["doctor", "--json"])
    output = capsys.readouterr().out
    said = json.loads(output)
    (shared,) = said["facts"]["objects"]
    assert (shared["name"], shared["lock"]["process"]["pid"]) == (NAME, host.pid)
    assert said["well"] == all(each["level"] != "wrong" for each in said["findings"])
    key = (folder / "authkey").read_bytes()
    assert key.hex() not in output
    assert repr(key)[2:-1] not in output


def test_a_host_with_damaged_files_is_described_as_far_as_possible(
    cluster: Cluster, folder: Path
) -> None:
    host = cluster.peer(options={"network": {"poll": 60, "watch": "none", "lease": 100}})
    place = folder / f"{NAME}.d"
    (place / "rendezvous.json").write_text("[" * 100_000)
    (place / "peer-00ab.json").write_text('{"pid": true, "roles": 7, "maxWriters": "x"}')
    (place / "epoch-0000.lock").write_text("of no kind that is known")
    text = shown()
    assert wrong() == []
    assert f"host: process {host.pid}" in text
    assert "files of dead peers: 00ab" in text


def test_another_key_is_named(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.peer()
    monkeypatch.setattr(collect_module, "read_key", lambda root: (b"x" * 32, None))
    assert "has another authkey" in wrong()[0]


def test_an_error_in_one_part_does_not_hide_the_others(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host = cluster.peer()

    def fail(*_: object) -> None:
        raise OSError("on purpose")

    for each in ("read_key", "folder_facts"):
        monkeypatch.setattr(collect_module, each, fail)
    assert main(["doctor"]) == 1
    output = capsys.readouterr().out
    assert output.count("not examined") == 2
    assert f"host: process {host.pid}" in output


def test_the_exit_status_says_whether_something_is_wrong(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.peer()
    assert main(["doctor", NAME]) == 0
    assert capsys.readouterr().out.endswith("\nall is well\n")
    assert main(["doctor", "another"]) == 1
    assert capsys.readouterr().out.endswith("\n1 problem found\n")


def test_names_that_do_not_fit_into_a_path_are_found(cluster: Cluster) -> None:
    name = "Long" * 70
    cluster.peer(name=name)
    (shared,) = collect()["objects"]
    assert shared["name"] == name
    assert collect(name, timeout=PATIENCE)["objects"][0]["answer"]["error"] is None


def test_the_reason_for_the_folder() -> None:
    used = tempfile.gettempdir()
    assert reason_for_folder({}) == "the default"
    assert reason_for_folder({"MEMSYNC_DIR": "/x", "TMPDIR": "/gone"}) == "named by MEMSYNC_DIR"
    assert reason_for_folder({"TMPDIR": used}) == "named by TMPDIR"
    assert "TMPDIR=/gone is not writable" in reason_for_folder({"TMPDIR": "/gone"})


def test_facts_about_the_system() -> None:
    own = process_facts(os.getpid())
    if Path("/proc/self/stat").exists():
        assert own["state"] in ("R", "S")
        assert "python" in own["program"]
    assert process_facts(2**30) == {"pid": 2**30, "state": None, "program": None}


def test_the_named_locks_are_listed_with_their_holders_and_queues(cluster: Cluster) -> None:
    host, waiter = cluster.start(2)

    def hold(mem: MemSync[Any]) -> int:
        lock = mem.lock("reindex")
        lock.acquire()
        assert lock.token is not None
        return lock.token

    token = host.run(hold)
    assert f"lock 'reindex': held by process {host.pid}" in shown()
    waiter.begin(hold)
    until(lambda: "1 request waits" in shown())
    assert f"token {token}; 1 request waits, of process {waiter.pid}" in shown()
    assert wrong() == []
