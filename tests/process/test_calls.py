"""Calls between real processes: straight to the callee, whatever happens to the host."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import AuthenticationError, get_context
from multiprocessing.connection import Client
from pathlib import Path
from typing import Any

import pytest

from memsync import (
    MemErrors,
    MemSync,
    NoSuchMethodError,
    NotSerializableError,
    PeerLostError,
    RpcTimeoutError,
)
from memsync.testing import Cluster, Peer, until

from ..process_helpers import calls_at, log_to, read_line, write_line

pytestmark = pytest.mark.process

GetMem = Callable[[], MemSync[Any]]

SOON = 10.0  # seconds; a call that nobody answers waits for 30
STEADY = {"network": {"lease": 60}}  # nobody replaces a host that is paused


def methods(mem: GetMem) -> dict[str, Any]:
    """The methods of most peers here."""

    def sleep(seconds: float) -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.01)
            mem().rpc.current().check()
        return "slept"

    def count(path: str) -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            log_to(path)(f"{time.time()}")

    return {
        "pid": os.getpid,
        "read": lambda path: mem().snapshot(path),
        "sleep": sleep,
        "count": count,
        "back": lambda peer, name: mem().call(name, peer=peer),
        "math": {"add": lambda a, b: a + b},
    }


def connect(peer: Peer, *others: Peer) -> None:
    """Have a peer connect to others; one that takes a second for it is passed over for a while."""
    for other in others:
        name = other.status()["id"]
        assert peer.run(lambda mem, name=name: mem.run(os.getpid, on=name)) == other.pid


def ids(cluster: Cluster) -> list[str]:
    """The ids of all peers."""
    return [peer.status()["id"] for peer in cluster.peers]


def test_a_call_goes_to_the_peer_that_has_the_method(cluster: Cluster) -> None:
    host, worker, client = cluster.peer(), cluster.peer(rpc=methods), cluster.peer()
    assert client.run(lambda mem: mem.call("math.add", 1, b=2)) == 3
    assert client.run(lambda mem: mem.call("pid")) == worker.pid
    assert host.run(lambda mem: mem.call_all("pid")) == {worker.status()["id"]: worker.pid}
    (found,) = [each for each in client.run(lambda mem: mem.peers) if each["methods"]]
    assert found["pid"] == worker.pid
    assert set(found["methods"]) == {"pid", "read", "sleep", "count", "back", "math.add"}


def test_a_peer_without_methods_opens_its_listener_when_it_is_wanted(cluster: Cluster) -> None:
    one, other = cluster.start(2)
    folder = Path(os.environ["MEMSYNC_DIR"])
    assert not list(folder.glob("*/calls-*"))
    peer = other.status()["id"]
    assert one.run(lambda mem: mem.run(os.getpid, on=peer)) == other.pid
    assert [path.name for path in folder.glob("*/calls-*")] == [f"calls-{peer}.sock"]
    other.stop()
    assert not list(folder.glob("*/calls-*"))


def test_nobody_has_the_method(cluster: Cluster) -> None:
    _, client = cluster.start(2, rpc=methods)
    began = time.monotonic()
    with pytest.raises(NoSuchMethodError, match=r"'math.ad'; did you mean 'math.add'\?"):
        client.run(lambda mem: mem.call("math.ad", 1))
    with pytest.raises(NoSuchMethodError, match="has no method 'nothing'"):
        client.run(lambda mem: mem.call("nothing", peer=mem.peers[0]["id"]))
    assert time.monotonic() - began < SOON


def test_a_method_is_known_when_start_has_returned(cluster: Cluster) -> None:
    client = cluster.peer()
    for _ in range(2):
        worker = cluster.peer(rpc={"pid": os.getpid})
        assert client.run(lambda mem: mem.call("pid")) == worker.pid
        worker.stop()
        with pytest.raises(NoSuchMethodError):
            client.run(lambda mem: mem.call("pid"))


@pytest.mark.parametrize("times", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_call_after_a_patch_sees_the_patch(cluster: Cluster, times: int) -> None:
    host, client = cluster.start(2, {"n": 0}, rpc=methods)

    def write_and_call(mem: MemSync[Any], times: int, peer: str) -> list[int]:
        wrong = []
        for number in range(1, times + 1):
            mem.patch({"$set": {"n": number}})
            if mem.call("read", "n", peer=peer) != number:
                wrong.append(number)
        return wrong

    one, other = ids(cluster)
    half = times // 2
    for writer, callee in ((client, one), (host, other)):
        ticket = writer.begin(write_and_call, half, callee)
        assert writer.result(ticket, timeout=100) == []


def test_two_peers_call_into_each_other(cluster: Cluster) -> None:
    one, other = cluster.start(2, options={"rpc": {"threads": 1}}, rpc=methods)
    first, second = ids(cluster)

    def call_often(mem: MemSync[Any], peer: str) -> list[Any]:
        futures = [mem.rpc.submit("back", mem.id, "pid", peer=peer) for _ in range(100)]
        return [future.result(timeout=15) for future in futures]

    tickets = [(one, one.begin(call_often, second)), (other, other.begin(call_often, first))]
    for peer, ticket in tickets:
        assert peer.result(ticket) == [peer.pid] * 100


def test_a_dead_callee_is_reported_at_once(cluster: Cluster) -> None:
    client, worker = cluster.peer(), cluster.peer(rpc=methods)

    def call(mem: MemSync[Any]) -> Any:
        try:
            return mem.call("sleep", 30)
        except PeerLostError as error:
            return time.monotonic(), error.fields, str(error)

    ticket = client.begin(call)
    until(lambda: worker.run(calls_at))
    worker.kill()
    killed = time.monotonic()
    at, fields, message = client.result(ticket)
    assert at - killed < SOON
    assert fields["pid"] == worker.pid
    assert fields["method"] == "sleep"
    assert fields["arguments"] == "30"
    assert 0 < fields["seconds"] < SOON
    assert "may have run" in message
    until(lambda: not client.run(lambda mem: mem.peers))
    with pytest.raises(NoSuchMethodError):
        client.run(lambda mem: mem.call("sleep", 0))


def test_the_host_is_not_needed(cluster: Cluster) -> None:
    host = cluster.peer(options=STEADY)
    worker, client = cluster.peer(rpc=methods), cluster.peer()
    assert client.run(lambda mem: mem.call("pid")) == worker.pid
    peer = worker.status()["id"]
    host.pause()
    assert client.run(lambda mem: mem.call("pid", timeout=15)) == worker.pid
    assert client.run(lambda mem: mem.call("math.add", 1, 2, peer=peer, timeout=15)) == 3
    host.resume()
    host.kill()
    assert client.run(lambda mem: mem.call("pid", timeout=15)) == worker.pid


def test_a_frozen_callee_costs_the_budget_and_no_more(cluster: Cluster) -> None:
    client, worker = cluster.peer(), cluster.peer(rpc=methods)
    assert client.run(lambda mem: mem.call("math.add", 1, 2)) == 3
    worker.pause()
    began = time.monotonic()
    with pytest.raises(RpcTimeoutError):
        client.run(lambda mem: mem.call("math.add", 1, 2, timeout=0.5))
    assert 0.4 < time.monotonic() - began < SOON
    worker.resume()
    assert client.run(lambda mem: mem.call("math.add", 1, 2)) == 3


def test_a_frozen_peer_that_is_not_connected_costs_no_more_either(cluster: Cluster) -> None:
    client, worker = cluster.peer(), cluster.peer(rpc=methods)
    worker.pause()
    began = time.monotonic()
    with pytest.raises(RpcTimeoutError, match="nothing was run") as caught:
        client.run(lambda mem: mem.call("math.add", 1, 2, timeout=0.5))
    assert time.monotonic() - began < SOON
    assert (caught.value.outcome, caught.value.method) == ("not_applied", "math.add")
    worker.resume()


def test_a_frozen_peer_is_passed_over(cluster: Cluster) -> None:
    client, frozen, other = (cluster.peer(rpc=methods if n else None) for n in range(3))
    frozen.pause()
    began = time.monotonic()
    assert {client.run(lambda mem: mem.call("pid", timeout=9)) for _ in range(30)} == {other.pid}
    assert time.monotonic() - began < SOON  # a second was lost once, not by each second call
    frozen.resume()


def test_a_killed_caller_ends_its_stream(cluster: Cluster, tmp_path: Path) -> None:
    client, _ = cluster.peer(), cluster.peer(rpc=methods)
    ended = tmp_path / "ended"

    def read(mem: MemSync[Any], path: str) -> None:
        vars(mem)["kept"] = stream = mem.call("count", path)
        for _ in range(100):
            next(stream)

    client.run(read, str(ended))
    assert not ended.exists()
    client.kill()
    killed = time.time()
    until(lambda: ended.exists() and ended.read_text())
    assert float(ended.read_text()) - killed < SOON


def test_an_idempotent_method_runs_on_another_peer_when_the_first_one_dies(
    cluster: Cluster, tmp_path: Path
) -> None:
    from memsync.rpc.functions import idempotent

    first = tmp_path / "first"

    def die_once() -> int:
        try:
            first.touch(exist_ok=False)
        except FileExistsError:
            return os.getpid()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    client = cluster.peer()
    methods = {"once": idempotent(die_once), "twice": lambda: die_once()}  # a function of its own
    workers = [cluster.peer(rpc=methods) for _ in "ab"]
    for worker in workers:  # a peer that is not connected within a second is not asked again
        peer = worker.status()["id"]
        assert client.run(lambda mem, peer=peer: mem.run(os.getpid, on=peer)) == worker.pid
    survivor = client.run(lambda mem: mem.call("once"))
    assert survivor in {worker.pid for worker in workers if worker.pid == survivor}
    first.unlink()
    with pytest.raises(PeerLostError):
        client.run(lambda mem: mem.call("twice"))


def test_a_socket_that_somebody_deleted_is_opened_again(cluster: Cluster) -> None:
    client, worker = cluster.peer(), cluster.peer(rpc=methods)
    (path,) = Path(os.environ["MEMSYNC_DIR"]).glob("*/calls-*")
    path.unlink()
    assert client.run(lambda mem: mem.call("pid", timeout=15)) == worker.pid
    assert path.exists()


def test_a_killed_peer_leaves_no_socket(cluster: Cluster) -> None:
    host, worker = cluster.peer(), cluster.peer(rpc=methods)
    assert list(Path(os.environ["MEMSYNC_DIR"]).glob("*/calls-*"))
    worker.kill()
    until(lambda: not host.run(lambda mem: mem.peers))
    until(lambda: not list(Path(os.environ["MEMSYNC_DIR"]).glob("*/calls-*")))


def test_a_published_function_outlives_its_publisher(cluster: Cluster) -> None:
    publisher, one, other = cluster.start(3)
    factor = 3
    publisher.run(lambda mem: mem.rpc.publish("times", lambda n: n * factor))
    publisher.kill()
    assert one.run(lambda mem: mem.call("times", 7)) == 21
    late = cluster.peer()
    assert late.run(lambda mem: mem.call_all("times", 2)) == dict.fromkeys(
        (peer.status()["id"] for peer in (one, other, late)), 6
    )
    version = one.run(lambda mem: mem.rpc.unpublish("times"))
    until(lambda: late.version >= version)
    with pytest.raises(NoSuchMethodError):
        late.run(lambda mem: mem.call("times", 7))


def test_a_function_runs_at_the_host_or_elsewhere(cluster: Cluster) -> None:
    host, one, other = cluster.start(3)
    assert one.run(lambda mem: mem.run(os.getpid, on="host")) == host.pid
    assert one.run(lambda mem: mem.run(os.getpid, on=mem.id)) == one.pid
    connect(one, host, other)
    found = {one.run(lambda mem: mem.run(os.getpid)) for _ in range(4)}
    assert found == {host.pid, other.pid}
    host.kill()
    found_host = other.run(lambda mem: mem.run(os.getpid, on="host", timeout=10))
    assert found_host in {one.pid, other.pid}
    other.kill()
    until(lambda: not one.run(lambda mem: mem.peers))
    assert one.run(lambda mem: mem.run(os.getpid)) == one.pid


def test_an_executor_uses_all_others(cluster: Cluster) -> None:
    peers = cluster.start(3)

    def work(mem: MemSync[Any]) -> set[int]:
        with mem.executor() as executor:
            list(executor.map(time.sleep, [0.01] * 20))
            return set(executor.map(lambda _: os.getpid(), range(40), chunksize=3))

    connect(peers[0], *peers[1:])
    assert peers[0].run(work) == {peers[1].pid, peers[2].pid}


def test_pickles_are_refused_where_the_option_says_so(cluster: Cluster) -> None:
    client = cluster.peer()
    worker = cluster.peer(rpc=methods, options={"rpc": {"pickles": False}})
    peer = worker.status()["id"]
    assert client.run(lambda mem: mem.call("math.add", 1, 2)) == 3
    assert client.run(lambda mem: mem.run(os.getpid)) == client.pid
    with pytest.raises(NoSuchMethodError, match=r"rpc\.pickles is false"):
        client.run(lambda mem: mem.run(os.getpid, on=peer))
    with pytest.raises(NotSerializableError, match=r"rpc\.pickles"):
        client.run(lambda mem: mem.call("math.add", 1, {2}))
    with pytest.raises(NoSuchMethodError):
        worker.run(lambda mem: mem.call("nothing"))


class TestForks:
    @pytest.mark.parametrize(
        "method", ["fork", "spawn", pytest.param("forkserver", marks=pytest.mark.slow)]
    )
    def test_children_call_with_the_handle_that_they_have(
        self, cluster: Cluster, method: str
    ) -> None:
        worker = cluster.peer(rpc=methods)
        with MemSync(cluster.name, rpc={"own": os.getpid}) as mem:
            assert mem.call("pid") == worker.pid  # the child inherits the connection
            context: Any = get_context(method)
            results = context.SimpleQueue()
            child = context.Process(target=call_in_child, args=(mem, results))
            child.start()
            found = results.get()
            child.join(20)
            assert found["pid"] == worker.pid
            assert found["run"] in {os.getpid(), worker.pid}
            assert set(found["executor"]) <= {os.getpid(), worker.pid}
            assert os.getpid() in found["own"]
            # A forked child has the methods of the handle, a copy by pickle has none.
            assert (child.pid in found["own"]) == (method == "fork")
            assert mem.call("pid") == worker.pid
            results.close()

    def test_a_fork_in_a_method_disturbs_nobody(self, cluster: Cluster) -> None:
        def fork() -> int:
            child = os.fork()
            if not child:
                os._exit(0)
            os.waitpid(child, 0)
            return child

        client, _ = cluster.peer(), cluster.peer(rpc={"fork": fork})
        assert len({client.run(lambda mem: mem.call("fork")) for _ in range(5)}) == 5


def call_in_child(mem: MemSync[Any], results: Any) -> None:
    """What a child process finds with the handle of its parent."""
    with mem.executor(2) as executor:
        tasks = list(executor.map(ask_pid, range(4)))
    found = {
        "pid": mem.call("pid"),
        "run": mem.run(os.getpid),
        "executor": tasks,
        "own": list(mem.call_all("own").values()),
    }
    mem.stop()
    results.put(found)


def ask_pid(_: int) -> int:
    """A task."""
    return os.getpid()


class TestStrangers:
    """G13, for the listener of calls."""

    def test_garbage_and_a_wrong_key_disturb_nobody(self, cluster: Cluster) -> None:
        client, worker = cluster.peer(), cluster.peer(rpc=methods)
        assert client.run(lambda mem: mem.call("pid")) == worker.pid
        (path,) = Path(os.environ["MEMSYNC_DIR"]).glob("*/calls-*")
        for data in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\5hello", b"\xff" * 100_000):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
                sock.settimeout(5)
                with suppress(ConnectionError):  # it was cut off
                    sock.sendall(data)
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(4096):
                        pass
        with pytest.raises(AuthenticationError):
            Client(str(path), authkey=b"wrong")
        assert client.run(lambda mem: mem.call("pid")) == worker.pid

    @pytest.mark.parametrize("name", ["create", "get_methods", "shutdown", "attach"])
    def test_with_the_key_only_calls_are_taken(self, cluster: Cluster, name: str) -> None:
        worker = cluster.peer(rpc=methods)
        folder = Path(os.environ["MEMSYNC_DIR"])
        (path,) = folder.glob("*/calls-*")
        with Client(str(path), authkey=(folder / "authkey").read_bytes()) as connection:
            connection.send((None, name, (b"\0\0\0\1x",) if name == "attach" else (), {}))
            with pytest.raises((EOFError, ConnectionError)):
                connection.recv_bytes()
        assert worker.run(lambda mem: mem.call("math.add", 1, 1, peer=mem.id)) == 2


def test_a_peer_that_stops_ends_its_calls(cluster: Cluster) -> None:
    client, worker = cluster.peer(), cluster.peer(rpc=methods)
    ticket = client.begin(lambda mem: mem.call("sleep", 30))
    until(lambda: worker.run(calls_at))
    began = time.monotonic()
    worker.stop()
    with pytest.raises(PeerLostError):
        client.result(ticket)
    assert time.monotonic() - began < SOON
    worker.start()
    assert client.run(lambda mem: mem.call("pid")) == worker.pid


def test_calls_of_many_threads_share_a_connection(cluster: Cluster) -> None:
    cluster.peer(rpc=methods)
    with MemSync(cluster.name) as mem:
        results: list[Any] = []
        threads = [
            threading.Thread(target=lambda n=n: results.append(mem.call("math.add", n, n)))
            for n in range(30)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(results) == [2 * n for n in range(30)]
        assert mem._peer.calls is not None
        assert len(mem._peer.calls._connections._connections) == 1


def test_a_program_calls_after_its_own_restart(cluster: Cluster) -> None:
    worker = cluster.peer(rpc=methods)
    program = cluster.script(
        """
        import sys
        from memsync import MemSync
        mem = MemSync(sys.argv[1], rpc={"here": lambda: "yes"})
        for _ in range(2):
            with mem:
                print(mem.call("pid"), mem.call("here"), flush=True)
                sys.stdin.readline()
        """,
        cluster.name,
    )
    for _ in range(2):
        assert read_line(program).split() == [str(worker.pid), "yes"]
        assert worker.run(lambda mem: mem.call("here")) == "yes"
        write_line(program)
    assert program.wait(10) == 0


def test_the_codes_of_the_errors(cluster: Cluster) -> None:
    client = cluster.peer()
    with pytest.raises(NoSuchMethodError) as caught:
        client.run(lambda mem: mem.call("nothing"))
    assert caught.value.code is MemErrors.ERR_NO_METHOD
    assert caught.value.outcome == "not_applied"
