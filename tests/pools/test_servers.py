"""Web servers whose workers share an object: each is started for real, and loses a worker."""

from __future__ import annotations

import http.client
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from memsync.testing import Cluster, until

from .programs import PATIENCE, program, recipe

NEEDED = ("fastapi", "uvicorn", "gunicorn", "gevent")
MISSING = [each for each in NEEDED if importlib.util.find_spec(each) is None]

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(bool(MISSING), reason=f"not installable on {sys.version}: {MISSING}"),
]

WSGI = """
import os
from memsync import MemSync

mem = MemSync("obj", {"count": 0})
mem.start()

def app(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        mem.patch({"$inc": {"count": 1}})
    body = f"{os.getpid()} {mem.snapshot('count')}".encode()
    start_response("200 OK", [("Content-Length", str(len(body))), ("Connection", "close")])
    return [body]
"""

BOUND = WSGI.replace("mem.start()", "mem.start()\ndata = mem.data").replace(
    "mem.snapshot('count')", "data['count']"
)
"""A program that binds a name to the object where the master of `--preload` imports it."""

FASTAPI = """
import os
from contextlib import asynccontextmanager
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from memsync import MemSync

mem = MemSync("obj", {"count": 0})

@asynccontextmanager
async def lifespan(app):
    with mem:
        yield

app = FastAPI(lifespan=lifespan)

@app.get("/", response_class=PlainTextResponse)
async def read():
    return f"{os.getpid()} {mem.data['count']}"

@app.post("/", response_class=PlainTextResponse)
def write():
    mem.patch({"$inc": {"count": 1}})
    return f"{os.getpid()} {mem.data['count']}"
"""

PATCHED = "from gevent import monkey\nmonkey.patch_all()\n"
"""The configuration of a gunicorn that imports the program before it makes workers."""


class Server:
    """A running server, and what it has answered."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.workers: set[int] = set()
        self.acknowledged = 0
        self.attempted = 0
        self._port = port

    def request(self, method: str) -> tuple[int, int] | None:
        """The pid of the worker that answers and the count; None without an answer."""
        self.attempted += method == "POST"
        body = self.body(method)
        if body is None:
            return None
        self.acknowledged += method == "POST"
        pid, count = map(int, body.split())
        self.workers.add(pid)
        return pid, count

    def body(self, method: str) -> bytes | None:
        """What the server answers; None without an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request(method, "/", headers={"Connection": "close"})
            answer = connection.getresponse()
            body = answer.read()
            return body if answer.status == 200 else None
        return None

    def write(self, times: int) -> None:
        for _ in range(times):
            self.request("POST")

    def check(self) -> None:
        """No acknowledged write is lost or counted twice, in whichever worker answers."""

        def is_right() -> bool:
            answer = self.request("GET")
            return answer is not None and self.acknowledged <= answer[1] <= self.attempted

        until(is_right, PATIENCE, lambda: f"{self.acknowledged} {self.request('GET')}")


@contextmanager
def serving(folder: Path, program_text: str, *command: str, **environ: str) -> Iterator[Server]:
    """A server of a program; it has to stop when it is told to, and to leave no process."""
    (folder / "app.py").write_text(program_text)
    (folder / "patched.py").write_text(PATCHED)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [part.format(port=port) for part in command]
    with program("-m", *words, cwd=folder, environ=environ) as process:
        server = Server(process, port)
        until(lambda: server.body("GET"), PATIENCE, (folder / "log").read_text)
        yield server
        process.terminate()


def check_server(server: Server, log: Path) -> None:
    """Write, kill a worker, write on; each acknowledged write is there once."""
    before = server.acknowledged
    server.write(10)
    until(
        lambda: server.request("GET") and len(server.workers) >= 2,
        PATIENCE,
        lambda: f"{server.workers}\n{log.read_text()}",
    )
    assert server.acknowledged == before + 10, log.read_text()
    server.check()

    victim = min(server.workers)
    os.kill(victim, signal.SIGKILL)
    server.workers.clear()
    server.write(10)
    until(
        lambda: server.request("GET") and len(server.workers - {victim}) >= 2,
        PATIENCE,
        log.read_text,
    )
    assert server.acknowledged >= before + 15, log.read_text()
    server.check()


GUNICORN = {
    "sync": ("-k", "sync"),
    "sync preload": ("-k", "sync", "--preload"),
    "gthread": ("-k", "gthread", "--threads", "3"),
    "gthread preload": ("-k", "gthread", "--threads", "3", "--preload"),
    "gevent": ("-k", "gevent"),
    "gevent preload": ("-k", "gevent", "--preload", "-c", "patched.py"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", GUNICORN)
def test_gunicorn(cluster: Cluster, tmp_path: Path, kind: str) -> None:
    if "preload" not in kind:
        cluster.peer({"count": 0})  # a reload may end all old workers before a new one joins
    command = ("gunicorn", "app:app", "-w", "2", "-b", "127.0.0.1:{port}", *GUNICORN[kind])
    log = tmp_path / "log"
    with serving(tmp_path, WSGI, *command) as server:
        check_server(server, log)

        old = set(server.workers)
        server.process.send_signal(signal.SIGHUP)
        until(
            lambda: (answer := server.request("POST")) is not None and answer[0] not in old,
            PATIENCE,
            log.read_text,
        )
        server.check()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in GUNICORN if "preload" in kind])
def test_a_name_that_the_master_has_bound_follows_in_each_worker(
    cluster: Cluster, tmp_path: Path, kind: str
) -> None:
    other = cluster.peer({"count": 0})
    command = ("gunicorn", "app:app", "-w", "3", "-b", "127.0.0.1:{port}", *GUNICORN[kind])
    with serving(tmp_path, BOUND, *command) as server:
        for number in range(1, 4):
            other.patch({"$set": {"count": number}})
            newest: dict[int, int] = {}

            def all_follow(number: int = number, newest: dict[int, int] = newest) -> bool:
                answer = server.request("GET")
                newest.update([answer] if answer is not None else [])
                return len(newest) == 3 and set(newest.values()) == {number}

            until(all_follow, PATIENCE)


@pytest.mark.slow
def test_fastapi(cluster: Cluster, tmp_path: Path) -> None:
    cluster.peer({"count": 0})
    command = ("uvicorn", "app:app", "--workers", "2", "--port", "{port}")
    with serving(tmp_path, FASTAPI, *command) as server:
        check_server(server, tmp_path / "log")


PLACES = "MEMSYNC_NETWORK_MAX_WRITERS"

EXACT = {
    "gunicorn sync": (2, WSGI, ("gunicorn", "app:app", "-b", "127.0.0.1:{port}", "-w", "2")),
    "gunicorn sync preload": (
        3,  # the master is a writer, too
        WSGI,
        ("gunicorn", "app:app", "-b", "127.0.0.1:{port}", "-w", "2", "--preload"),
    ),
    "gunicorn gthread": (
        2,
        WSGI,
        ("gunicorn", "app:app", "-b", "127.0.0.1:{port}", "-w", "2", *GUNICORN["gthread"]),
    ),
    "uvicorn": (2, FASTAPI, ("uvicorn", "app:app", "--workers", "2", "--port", "{port}")),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXACT)
def test_a_killed_worker_gives_its_place_to_the_next(
    cluster: Cluster, tmp_path: Path, kind: str
) -> None:
    """There are as many places as processes, and the server ends without a trace."""
    number, text, command = EXACT[kind]
    limit = 1 + number
    other = cluster.peer({"count": 0}, {"network": {"maxWriters": limit}})
    with serving(tmp_path, text, *command, **{PLACES: str(limit)}) as server:
        for _ in range(2):
            server.workers.clear()
            check_server(server, tmp_path / "log")
        assert other.status()["peers"] == number
    until(lambda: other.status()["peers"] == 0, 5, lambda: str(other.run(lambda mem: mem.peers)))
    assert other.run(lambda mem: mem.data["count"]) >= server.acknowledged


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", "app:app"),
        ("uvicorn", "--workers", "2", "--port", "{port}", "app:app"),
    ],
    ids=lambda command: command[0],
)
def test_the_recipe_of_the_page(cluster: Cluster, tmp_path: Path, command: tuple[str, ...]) -> None:
    other = cluster.peer({"count": 0}, name="visits")
    with serving(tmp_path, recipe("pools.md", command[0]), *command) as server:
        until(lambda: other.status()["peers"] == 2, PATIENCE, "both workers join")
        before = other.snapshot("count")
        for number in range(1, 11):
            assert server.body("GET") == str(before + number).encode()
