"""Mistakes of callers and odd things in the folder: an error with a code, and nothing hangs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import pytest

from memsync import MemSync, OptionsError, RendezvousError, TooLargeError, UpdateError, UsageError
from memsync.manager import MemSyncManager
from memsync.manager.folder import watcher
from memsync.testing import Cluster, until

from ..process_helpers import PlainManager

pytestmark = pytest.mark.process


def object_folder(name: str = "obj") -> Path:
    folder = Path(os.environ["MEMSYNC_DIR"], f"{name}.d")
    folder.mkdir(mode=0o700, parents=True)
    return folder


@pytest.mark.parametrize("wrong", [5, "x", {"x": 1}])
@pytest.mark.parametrize("role", ["host", "client"])
def test_array_filters_of_a_wrong_type_are_refused_where_they_are_given(
    role: str, wrong: Any
) -> None:
    with MemSync[Any]("obj", {"n": 1}) as host, MemSync[Any]("obj") as client:
        mem = host if role == "host" else client
        with pytest.raises(UpdateError, match="array_filters must be a list of filters, not"):
            mem.patch({"$set": {"n": 2}}, array_filters=wrong, timeout=2)
        assert mem.patch({"$set": {"n": 3}}, timeout=5) == mem.version


def test_the_frame_limit_is_the_groups_who_states_another_is_refused_by_name() -> None:
    with MemSync[Any]("obj", {"n": 1}, {"network": {"maxFrame": 65536}}) as host:
        stranger = MemSync[Any]("obj", options={"network": {"maxFrame": 1048576}})
        with pytest.raises(OptionsError, match=r"network.maxFrame is 65536 .* not 1048576"):
            stranger.start()
        with MemSync[Any]("obj") as client:  # states none, so it takes the group's
            with pytest.raises(TooLargeError, match="65536"):
                client.patch({"$set": {"text": "x" * 100_000}})
            client.patch({"$set": {"text": "x" * 50_000}})
            host.stop()
            until(lambda: client.get_status()["status"] == "host", 5)
            with pytest.raises(TooLargeError, match="65536"):  # and keeps it as host
                client.patch({"$set": {"text": "x" * 100_000}})


def test_a_default_limit_is_stated_by_being_founder_without_a_limit() -> None:
    with (
        MemSync("obj", {"n": 1}),
        pytest.raises(OptionsError, match=r"network.maxFrame is 67108864"),
    ):
        MemSync("obj", options={"network": {"maxFrame": 65536}}).start()


@pytest.mark.skipif(os.getuid() != 0, reason="gives up root to be stopped by file modes")
def test_a_host_whose_folder_became_read_only_still_frees_its_lock() -> None:
    program = textwrap.dedent("""
        import os, sys
        from memsync import MemSync
        with MemSync("warm") as mem, MemSync("warm"):  # nobody else may read the libraries
            mem.patch({"$inc": {"n": 1}})
        os.environ["MEMSYNC_DIR"] = sys.argv[1]
        os.setuid(65534)
        host, client = MemSync("ro", {"n": 0}), MemSync("ro")
        host.start(), client.start()
        folder = os.path.join(sys.argv[1], "ro.d")
        os.chmod(folder, 0o500)
        host.stop()
        os.chmod(folder, 0o700)
        print(client.patch({"$inc": {"n": 1}}, timeout=8) > 0, client.get_status()["status"])
        print(host.start(), host.snapshot("n"))
        host.stop(), client.stop()
    """)
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chown(folder, 65534, 65534)
        done = subprocess.run(
            [sys.executable, "-c", program, folder],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.stdout.split() == ["True", "host", "client", "1"], done.stderr


@pytest.mark.parametrize("name", ["epoch-007.lock", "epoch-99999999999999999999999.lock"])
def test_a_file_that_only_looks_like_a_lock_is_passed_over(name: str) -> None:
    (object_folder() / name).write_text("{}")
    with MemSync[Any]("obj", {"n": 1}, {"timeout": 5}) as mem:
        assert (mem.epoch, mem.snapshot()) == (1, {"n": 1})


@pytest.mark.parametrize("name", ["epoch-3.lock", "peer-ab.json", "rendezvous.json"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_what_is_no_file_is_named_and_a_failed_start_leaves_nothing(kind: str, name: str) -> None:
    folder = object_folder()
    if kind == "folder":
        (folder / name).mkdir()
    elif kind == "pipe":
        os.mkfifo(folder / name)
    else:
        (folder / name).symlink_to("nowhere")
    mem = MemSync[Any]("obj", {"n": 1}, {"timeout": 3})
    if name == "rendezvous.json" and kind != "folder":
        assert mem.start() == "host"  # the rendezvous is replaced as a whole
        mem.stop()
        return
    with pytest.raises(RendezvousError, match=name):
        mem.start()
    (folder / name).rmdir() if kind == "folder" else (folder / name).unlink()
    left = {path.name for path in folder.iterdir()}
    assert not {each for each in left if each.endswith(".sock") or each.startswith("tmp-")}


def test_without_a_watcher_the_poll_does_its_work(
    monkeypatch: pytest.MonkeyPatch, cluster: Cluster
) -> None:
    def broken(*args: object) -> None:
        raise ModuleNotFoundError("No module named 'ctypes'")

    monkeypatch.setattr(watcher, "_new_observer", broken)
    with (
        MemSync[Any]("obj", {"n": 1}, {"network": {"poll": 0.05}}) as host,
        MemSync[Any]("obj") as client,
    ):
        host.stop()
        client.patch({"$inc": {"n": 1}})
        assert client.snapshot() == {"n": 2}


@pytest.mark.parametrize("timeout", [1e12, -1, float("nan"), "x", True])
def test_the_proxy_and_the_handle_refuse_a_wrong_timeout_before_anything_happens(
    timeout: Any,
) -> None:
    with MemSync[Any]("obj", {"n": 1}) as mem:
        address, key = MemSyncManager.locate("obj")
        for patch in (PlainManager.document_at(address, key).patch, mem.patch):
            with pytest.raises(UsageError, match="timeout must be"):
                patch({"$inc": {"n": 1}}, timeout=timeout)
        assert mem.snapshot() == {"n": 1}


def test_wrong_arguments_of_the_handle_are_usage_errors() -> None:
    wrong: Any = 5
    with MemSync[Any]("obj", {"n": 1}) as mem:
        with pytest.raises(UsageError, match="a path is a string"):
            mem.snapshot(wrong)
        with pytest.raises(UsageError, match="must be callable, not 5"):
            mem.on("connected", wrong)
        with pytest.raises(TypeError, match="patch"):
            mem.data = {"hacked": 1}
        assert mem.data == mem.snapshot() == {"n": 1}
    with pytest.raises(OptionsError, match="not 5"):
        MemSync.from_config(wrong)


def test_a_key_that_stands_twice_in_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("name: a\noptions:\n  timeout: 1\n  timeout: 2\n")
    with pytest.raises(OptionsError, match=r"line 4: .*duplicate key 'timeout'"):
        MemSync.from_config(path)
