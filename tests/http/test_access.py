"""Names of hosts, origins of pages, the token, and clients that are silent or many."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from memsync import MemSync
from memsync.http import protocol, sockets
from memsync.testing import until

from .client import address_of, fetch, url_of

pytestmark = pytest.mark.process

TOKEN = "se-cret.7"


def served(**options: Any) -> MemSync[Any]:
    return MemSync("foo", {"n": 1}, {"server": {"port": 0, **options}}, engine="memory")


@pytest.fixture
def url() -> Iterator[str]:
    with served(allowedHosts=["Box.example"]) as mem:
        yield url_of(mem)


class TestNames:
    @pytest.mark.parametrize(
        "host",
        ["localhost", "LOCALHOST:1", "127.0.0.1:80", "127.9.9.9", "[::1]:8883", "box.example:8"],
    )
    def test_own_names_are_answered(self, url: str, host: str) -> None:
        assert fetch(url, {"Host": host}).status == 200

    @pytest.mark.parametrize(
        "host",
        ["evil.example", "localhost.evil.example", "192.0.2.1", "", "a b", "127.0.0.1@evil", "x:y"],
    )
    def test_other_names_are_refused(self, url: str, host: str) -> None:
        for path in ("", "/n", "/status"):
            answer = fetch(url + path, {"Host": host})
            assert (answer.status, answer.json["code"]) == (421, "ERR_HOST")

    def test_the_address_of_a_wildcard_is_its_name(self) -> None:
        with served(host="0.0.0.0", token=TOKEN) as mem:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            assert fetch(url_of(mem), {"Host": "192.0.2.1", **headers}).status == 200
            assert fetch(url_of(mem), {"Host": "evil.example", **headers}).status == 421

    def test_an_open_server_warns(self, caplog: pytest.LogCaptureFixture) -> None:
        with served(host="0.0.0.0"):
            assert "everyone who reaches the port" in caplog.text

    def test_pages_of_this_server_may_use_it(self, url: str) -> None:
        host = "localhost:1234"
        assert fetch(url, {"Host": host, "Origin": f"http://{host}"}).status == 200

    @pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1"])
    def test_pages_of_others_may_not(self, url: str, origin: str) -> None:
        answer = fetch(url, {"Host": "localhost:2", "Origin": origin})
        assert (answer.status, answer.json["code"]) == (403, "ERR_ORIGIN")
        assert "access-control-allow-origin" not in answer.headers

    def test_each_answer_has_the_headers_that_protect_pages(self, url: str) -> None:
        for path in ("", "/nope", "/status"):
            headers = fetch(url + path).headers
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cross-origin-resource-policy"] == "same-origin"


class TestToken:
    @pytest.fixture
    def url(self) -> Iterator[str]:
        with served(token=TOKEN) as mem:
            yield url_of(mem)

    @pytest.mark.parametrize("path", ["", "/n", "/nope", "/status", "/../"])
    def test_without_it_nothing_is_answered(self, url: str, path: str) -> None:
        answer = fetch(url + path)
        assert (answer.status, answer.json["code"]) == (401, "ERR_AUTH")
        assert answer.headers["www-authenticate"].startswith("Bearer")

    @pytest.mark.parametrize(
        "given",
        [f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer", "Bearer é"],
    )
    def test_another_one_is_refused(self, url: str, given: str) -> None:
        assert fetch(url, {"Authorization": given}).status == 401

    def test_with_it_all_is_answered(self, url: str) -> None:
        assert fetch(url, {"Authorization": f"bearer {TOKEN}"}).json == {"n": 1}

    def test_the_probes_need_none_and_name_no_object(self, url: str) -> None:
        root = url.rpartition("/")[0]
        assert fetch(root + "/healthz").json["status"] == "ok"
        assert fetch(root + "/readyz").json == {"status": "ready"}
        assert fetch(root + "/").status == 401


class TestBounds:
    def test_a_client_that_sends_no_request_is_cut_off(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.1)
        for sent in (b"", b"GET /foo HTTP/1.1\r\n", b"GET /foo HTTP/1.1\r\nHost: localhost\r\nX"):
            with socket.create_connection(address_of(url), 20) as connection:
                connection.sendall(sent)
                assert _is_cut_off(connection)

    def test_after_an_answer_too(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_connection(address_of(url), 20) as connection:
            connection.sendall(b"GET /foo HTTP/1.1\r\nHost: localhost\r\n\r\n")
            received = b""
            while not received.endswith(b'{"n":1}'):
                received += connection.recv(10000)
            monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.1)
            connection.sendall(b"GET /foo HTTP/1.1\r\n")
            assert _is_cut_off(connection)

    def test_a_client_that_reads_nothing_is_cut_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(protocol, "WRITE_SECONDS", 0.1)
        data = {"text": "x" * 20_000_000}
        options = {"server": {"port": 0}}
        mem = MemSync("big", data, options, engine="memory")
        with mem, socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(address_of(url_of(mem)))
            until(lambda: _connections(mem) == 1)
            connection.sendall(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n")
            until(lambda: _connections(mem) == 0)

    def test_a_head_without_end_is_refused(self, url: str) -> None:
        with socket.create_connection(address_of(url), 5) as connection:
            connection.sendall(b"GET /foo HTTP/1.1\r\nX: " + b"x" * 200_000)
            assert connection.recv(1000).startswith(b"HTTP/1.1 400")

    def test_garbage_is_refused(self, url: str) -> None:
        with socket.create_connection(address_of(url), 5) as connection:
            connection.sendall(b"\x16\x03\x01\x00\xa5 TLS?\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 400")

    def test_one_connection_too_many_is_refused(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sockets, "MAX_CONNECTIONS", 3)
        open_ones = [socket.create_connection(address_of(url), 5) for _ in range(3)]
        with socket.create_connection(address_of(url), 5) as connection:
            assert connection.recv(1000).startswith(b"HTTP/1.1 503")
        for each in open_ones:
            each.close()
        until(lambda: fetch(url).status == 200)


def _is_cut_off(connection: socket.socket) -> bool:
    try:
        return connection.recv(1000) == b""
    except ConnectionResetError:  # what was sent came after the end
        return True


def _connections(mem: MemSync[Any]) -> int:
    serving = mem._peer.serving
    assert serving is not None
    listener = serving._server._listener
    assert listener is not None
    return len(listener.connections)
