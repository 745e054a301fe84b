"""Several objects on one port, processes that stand by, strangers on the port, forks, the end."""

from __future__ import annotations

import os
import pickle
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from typing import Any

import pytest

from memsync import MemSync, OptionsError
from memsync.clocks import monotonic
from memsync.testing import Cluster, Peer, until

from .client import address_of, fetch, free_port, is_serving, url_of

pytestmark = pytest.mark.process


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def on(port: int, **options: Any) -> dict[str, Any]:
    return {"server": {"port": port, **options}}


def served_by(url: str) -> int | None:
    """The process that answers; None if none does."""
    try:
        pid: int = fetch(url.rpartition("/")[0] + "/healthz").json["pid"]
        return pid
    except OSError:
        return None


class TestOneProcess:
    def test_objects_with_one_port_share_the_server(self, stack: ExitStack) -> None:
        port = free_port()
        first = stack.enter_context(MemSync("first", {"n": 1}, on(port)))
        second = stack.enter_context(MemSync("second", {"n": 2}, on(port), engine="memory"))
        assert [fetch(url_of(mem)).json for mem in (first, second)] == [{"n": 1}, {"n": 2}]
        assert fetch(f"http://127.0.0.1:{port}/").json == {"objects": ["first", "second"]}
        assert sum(t.name == "memsync-http" for t in threading.enumerate()) == 1
        first.stop()
        assert fetch(url_of(second)).json == {"n": 2}
        assert fetch(url_of(second).replace("second", "first")).status == 404

    def test_objects_with_one_port_have_one_set_of_rules(self, stack: ExitStack) -> None:
        port = free_port()
        stack.enter_context(MemSync("first", {}, on(port), engine="memory"))
        second = MemSync("second", {}, on(port, token="secret"), engine="memory")
        with pytest.raises(OptionsError, match=rf"'second' differ .* port {port}"):
            second.start()
        assert second.get_status()["status"] == "stopped"
        assert fetch(f"http://127.0.0.1:{port}/").json == {"objects": ["first"]}

    @pytest.mark.slow  # the thread that looks after copies ends after two seconds
    def test_copies_of_a_handle_are_served_once(self, stack: ExitStack) -> None:
        mem = stack.enter_context(MemSync("foo", {"n": 1}, on(0)))
        copy = stack.enter_context(pickle.loads(pickle.dumps(mem)))
        url = url_of(mem)
        assert url_of(copy) == url
        mem.stop()
        assert mem.get_status()["server"] is None
        assert fetch(url).json == {"n": 1}

    @pytest.mark.usefixtures("patient_end")
    def test_after_a_stop_the_port_is_free_and_a_start_serves_again(self) -> None:
        port = free_port()
        mem = MemSync("foo", {"n": 1}, on(port), engine="memory")
        for _ in range(3):
            mem.start()
            assert fetch(url_of(mem)).json == {"n": 1}
            mem.stop()
            assert mem.get_status()["server"] is None
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))

    @pytest.mark.usefixtures("patient_end")
    def test_an_idle_connection_does_not_delay_the_stop(self) -> None:
        with MemSync("foo", {}, on(0), engine="memory") as mem:
            connection = HTTPConnection(*address_of(url_of(mem)))
            connection.request("GET", "/foo")
            connection.getresponse().read()
            half = socket.create_connection(address_of(url_of(mem)))
            half.sendall(b"GET /foo HTTP/1.1\r\nHost: loc")
        assert not is_serving()
        connection.close()
        half.close()


class TestSeveralProcesses:
    def test_a_second_one_takes_the_port_over(self, cluster: Cluster) -> None:
        port = free_port()
        first = cluster.peer({"n": 1}, on(port), name="foo")
        second = cluster.peer(None, on(port), name="foo")
        url = f"http://127.0.0.1:{port}/foo"
        assert first.status()["server"] == {"url": url, "serving": True}
        assert second.status()["server"] == {"url": url, "serving": False}
        assert served_by(url) == first.pid
        tag = fetch(url).tag
        first.kill()
        until(lambda: served_by(url) == second.pid)
        assert fetch(url, {"If-None-Match": tag}).status == 304
        assert second.status()["server"]["serving"]

    def test_it_is_taken_over_within_a_second(self, cluster: Cluster) -> None:
        """One of several times: a busy machine may delay the others."""
        port = free_port()
        url = f"http://127.0.0.1:{port}/foo"
        peers = [cluster.peer({}, on(port), name="foo") for _ in range(2)]

        def is_quick() -> bool:
            peers.pop(0).kill()
            begin = monotonic()
            until(lambda: served_by(url) == peers[0].pid)
            seconds = monotonic() - begin
            peers.append(cluster.peer({}, on(port), name="foo"))
            return seconds < 1

        until(is_quick, 60)

    def test_a_child_takes_over_where_it_uses_the_object(self) -> None:
        """Before its first use it has none of the parent's sockets, and serves nothing."""
        with MemSync("foo", {"n": 1}, on(0)) as mem:
            url = url_of(mem)
            connection = HTTPConnection(*address_of(url))
            connection.request("GET", "/foo")
            connection.getresponse().read()
            pid = os.fork()
            if not pid:
                links = [os.readlink(f"/proc/self/fd/{n}") for n in _descriptors()]
                bad = [n for n in links if n.startswith(("socket:", "anon_inode:[eventpoll]"))]
                own = connection.sock
                assert own is not None
                mine = os.readlink(f"/proc/self/fd/{own.fileno()}")
                is_clean = set(bad) <= {mine} and mem.get_status()["server"] is None
                os._exit(0 if is_clean else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            assert fetch(url).json == {"n": 1}
            connection.close()


def _descriptors() -> list[str]:
    return [n for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")]


class TestStrangers:
    def test_another_program_on_the_port_is_an_error(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as stranger:
            port = stranger.getsockname()[1]
            answers = threading.Thread(target=_answer_once, args=(stranger,))
            answers.start()
            mem = MemSync("foo", {}, on(port), engine="memory")
            with pytest.raises(OptionsError, match=rf"server\.port = {port} .*another program"):
                mem.start()
            answers.join()
            assert mem.get_status()["status"] == "stopped"
        mem.start()
        assert fetch(url_of(mem)).status == 200
        mem.stop()

    @pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
    def test_an_address_of_another_machine_is_an_error(self, host: str) -> None:
        with pytest.raises(OptionsError, match=r"server\.port = .* cannot listen there"):
            MemSync("foo", {}, on(free_port(), host=host), engine="memory").start()


def _answer_once(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nhello")


class TestOptions:
    @pytest.mark.parametrize("name", ["metrics", "healthz", "readyz", "openapi.json", "static"])
    def test_names_of_routes_are_refused(self, name: str) -> None:
        with pytest.raises(OptionsError, match=f"route /{name}"):
            MemSync(name, {}, on(0), engine="memory").start()

    def test_writing_needs_a_token(self) -> None:
        with pytest.raises(OptionsError, match=r"server\.write needs a server\.token"):
            MemSync("foo", {}, on(0, write=True), engine="memory").start()

    @pytest.mark.parametrize("token", ["", "a b", "é", "a\n"])
    def test_a_token_must_fit_into_a_header(self, token: str) -> None:
        with pytest.raises(OptionsError, match=r"server\.token: expected"):
            MemSync("foo", {}, on(0, token=token), engine="memory").start()

    def test_a_missing_library_is_named_with_its_extra(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(__import__("sys").modules, "memsync.http.server", None)
        with pytest.raises(OptionsError, match=r"pip install 'memsync\[server\]'"):
            MemSync("foo", {}, on(0), engine="memory").start()

    def test_a_failed_start_may_be_repeated(self, cluster: Cluster, stack: ExitStack) -> None:
        with socket.create_server(("127.0.0.1", 0)) as stranger:
            port = stranger.getsockname()[1]
            stranger.listen(0)
            answers = threading.Thread(target=_answer_once, args=(stranger,))
            answers.start()
            mem = MemSync("foo", {"n": 1}, on(port))
            with pytest.raises(OptionsError):
                mem.start()
            answers.join()
        assert stack.enter_context(mem).get_status()["status"] == "host"


def test_a_loop_over_peers_finds_the_one_that_serves(cluster: Cluster) -> None:
    port = free_port()
    peers: list[Peer] = [cluster.peer({}, on(port), name="foo") for _ in range(3)]
    url = f"http://127.0.0.1:{port}/foo"
    while len(peers) > 1:
        pid = until(lambda: served_by(url))
        until(lambda: sum(bool(p.status()["server"]["serving"]) for p in peers) == 1)
        one = next(peer for peer in peers if peer.pid == pid)
        one.kill()
        peers.remove(one)
    until(lambda: served_by(url) == peers[0].pid)
