"""The object in S3: moto's server on loopback, and a gateway that drops the conditions of puts."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from memsync import MemSync
from memsync.errors import StorageError
from memsync.storage.object_store import StoredObject
from memsync.storage.snapshot_file import head, pair_at
from memsync.testing import Cluster, Peer, until

from .moto_server import environment, moto_server
from .stripping_proxy import StrippingProxy
from .test_file import flush, host_and_client, patch_and_flush, submit

pytestmark = [pytest.mark.slow, pytest.mark.process]

BUCKET = "memsync-tests"
CONFIG = Path(__file__).parents[2] / "configs" / "s3.yaml"
URL = f"s3://{BUCKET}/folder/state.json"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of moto's server, which runs in a process of its own."""
    pytest.importorskip("obstore")
    pytest.importorskip("moto")
    with moto_server() as port:
        with pytest.MonkeyPatch.context() as patch:  # obstore's threads stay until the end
            set_environment(patch, f"http://127.0.0.1:{port}")
            with pytest.raises(StorageError):
                StoredObject(URL, fenced=True).prepare()
        yield port


@pytest.fixture(autouse=True)
def bucket(port: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket, and the environment that leads there; returns the server's address."""
    address = f"http://127.0.0.1:{port}"
    set_environment(monkeypatch, address)
    import boto3

    client = boto3.client("s3", endpoint_url=address)
    client.create_bucket(Bucket=BUCKET)
    for each in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        client.delete_object(Bucket=BUCKET, Key=each["Key"])
    return address


def set_environment(patch: pytest.MonkeyPatch, address: str) -> None:
    """Lead to a server."""
    for name, value in environment(address).items():
        patch.setenv(name, value)


def test_the_configuration_for_s3_runs_as_it_is(cluster: Cluster, bucket: str) -> None:
    import boto3

    boto3.client("s3", endpoint_url=bucket).create_bucket(Bucket="my-bucket")
    with MemSync.from_config(CONFIG) as mem:
        mem.patch({"$set": {"status": "saved"}})
        mem.flush()
        assert mem.get_status()["storage"]["fencing"] == "conditional"
    text = StoredObject("s3://my-bucket/memsync/state.json", fenced=True).read()
    assert text is not None
    assert json.loads(text)["data"] == {"status": "saved"}


def saved() -> Any:
    text = StoredObject(URL, fenced=True).read()
    assert text is not None
    return json.loads(text)


def object_of(version: int, epoch: int = 1) -> list[bytes]:
    return [head("c", epoch, version, 0), b"{}", b"}"]


def options(**file: Any) -> dict[str, Any]:
    return {"file": {"path": URL, "debounce": 0, **file}, "network": {"lease": 0.5}}


class TestTheObjectStore:
    def test_a_put_replaces_what_was_there(self) -> None:
        target = StoredObject(URL, fenced=True)
        target.prepare()
        assert target.fencing == "conditional"
        assert target.read() is None
        for version in (1, 2):
            target.write(object_of(version), lambda start: None)
        assert pair_at(target.read()) == (1, 2)

    def test_an_empty_object_is_replaced(self) -> None:
        target = StoredObject(URL, fenced=True)
        target.write([b""], lambda start: None)
        assert target.read() == b""
        target.write(object_of(1), lambda start: None)
        assert pair_at(target.read()) == (1, 1)

    def test_the_scheme_may_be_in_capitals(self) -> None:
        target = StoredObject(URL.replace("s3", "S3"), fenced=True)
        target.prepare()
        target.write(object_of(1), lambda start: None)
        assert pair_at(target.read()) == (1, 1)
        assert StoredObject("GS://bucket/key", fenced=True)._tag({"version": "7"}) == {
            "version": "7"
        }

    def test_the_probe_leaves_nothing(self, bucket: str) -> None:
        StoredObject(URL, fenced=True).prepare()
        with urlopen(f"{bucket}/{BUCKET}?list-type=2") as answer:
            assert b"<Key>" not in answer.read()

    def test_a_put_that_another_one_precedes_looks_again(self) -> None:
        target, other = (StoredObject(URL, fenced=True) for _ in range(2))
        for each in (target, other):
            each.prepare()
        seen = []

        def check(start: bytes | None) -> None:
            seen.append(pair_at(start))
            if len(seen) == 1:
                other.write(object_of(5), lambda start: None)
            if seen[-1] > (1, 3):
                raise StorageError("newer")

        with pytest.raises(StorageError, match="newer"):
            target.write(object_of(3), check)
        assert seen == [(0, 0), (1, 5)]
        assert pair_at(target.read()) == (1, 5)

    def test_a_gateway_that_ignores_conditions_is_refused(
        self, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        proxy = StrippingProxy("127.0.0.1", int(bucket.rpartition(":")[2]))
        try:
            set_environment(monkeypatch, proxy.url)
            with pytest.raises(StorageError, match="ignores the condition of a put"):
                MemSync("kept", {"n": 0}, options()).start()
            with MemSync("kept", {"n": 0}, options(fencing="off")) as mem:
                mem.flush()
                assert mem.get_status()["storage"]["fencing"] == "none"
                assert saved()["data"] == {"n": 0}
        finally:
            proxy.close()

    @pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3:///key", "s3://b/folder/"])
    def test_a_url_without_an_object(self, url: str) -> None:
        with pytest.raises(StorageError, match="name a bucket and an object"):
            MemSync("kept", {}, {"file": {"path": url}}).start()

    def test_a_bucket_that_is_not_there_stops_the_start(self) -> None:
        with pytest.raises(StorageError, match=r"s3://no-such-bucket/a\.json: cannot be"):
            MemSync("kept", {}, {"file": {"path": "s3://no-such-bucket/a.json"}}).start()

    def test_an_unreadable_object_stops_the_start_and_is_kept(self) -> None:
        StoredObject(URL, fenced=True).write([b"half {"], lambda start: None)
        with pytest.raises(StorageError, match="it is not JSON"):
            MemSync("kept", {}, options()).start()
        assert StoredObject(URL, fenced=True).read() == b"half {"


class TestAGroup:
    def test_the_object_outlives_its_processes(self) -> None:
        for number in range(1, 3):
            with MemSync("kept", {"n": 0}, options()) as mem:
                mem.patch({"$inc": {"n": 1}})
            assert saved()["data"] == {"n": number}

    def test_g11_a_host_that_was_suspended_puts_no_older_object_back(
        self, cluster: Cluster
    ) -> None:
        host, client = host_and_client(cluster, options())
        host.run(suspend_before_the_put)
        client.run(submit, {"$set": {"n": 1}})
        until(lambda: is_suspended(host))
        client.run(patch_and_flush, {"$set": {"n": 2}})
        before = saved()
        assert before["data"] == {"n": 2}
        host.resume()
        until(lambda: host.status()["status"] == "client")
        assert saved() == before

    def test_a_store_that_is_away_is_reported_and_saving_resumes(
        self, bucket: str, cluster: Cluster
    ) -> None:
        host = cluster.peer({"n": 0}, options())
        host.run(flush)
        host.run(lead_to, "http://127.0.0.1:9")
        host.patch({"$set": {"n": 1}})
        until(lambda: "cannot be" in (host.status()["storage"]["error"] or ""), timeout=30)
        host.patch({"$set": {"n": 2}})
        host.run(lead_to, bucket)
        until(lambda: host.status()["storage"]["error"] is None, timeout=30)
        assert saved()["data"] == {"n": 2}


def is_suspended(peer: Peer) -> bool:
    with open(f"/proc/{peer.pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def suspend_before_the_put(mem: MemSync[Any]) -> None:
    """Suspend this process when its next save has checked what is there, and is about to put."""
    put = StoredObject._put

    def suspend(self: StoredObject, key: str, data: bytes, mode: Any) -> bool:
        import signal

        StoredObject._put = put  # type: ignore[method-assign]
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(0.1)  # it may take effect a moment later
        return put(self, key, data, mode)

    StoredObject._put = suspend  # type: ignore[method-assign]


def lead_to(mem: MemSync[Any], address: str) -> None:
    """Have this process find its object store at another address."""
    os.environ["AWS_ENDPOINT_URL"] = address
    saver = mem._engine.role.saving._storage.saver  # type: ignore[union-attr]
    saver._target._opened = None


def test_a_forked_process_is_told_that_it_cannot_use_the_store() -> None:
    StoredObject(URL, fenced=True).read()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            StoredObject(URL, fenced=True).read()
        except StorageError as error:
            os.write(writer, str(error).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:
        assert b"threads of obstore do not survive a fork" in answer.read()
    os.waitpid(child, 0)
