"""HTTP: the time of one answer, requests per second beside a bare route, and a killed server.

Run: ``python -m benchmarks.studies.http [SECONDS]``. The aims: one key of 1,000,000 takes at most
1.2 x that of 1,000; 0.8 x the requests per second of a bare Starlette route that answers the same
bytes; the URL answers within a second of a ``kill -9``. Requests per second are measured with
``wrk``, if it is installed, in turns.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from http.client import HTTPConnection
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from memsync import MemSync

ROUNDS = 5
REQUESTS = 300


def serve(pipe: Connection, data: dict[str, Any], port: int) -> None:
    """A process that serves an object until it is killed."""
    with MemSync("bench", data, {"server": {"port": port}}) as mem:
        pipe.send(mem.get_status()["server"]["url"])
        signal.pause()


def serve_bare(pipe: Connection, body: bytes) -> None:
    """A bare Starlette route that answers some bytes."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    async def route(_: Any) -> Response:
        return Response(body, media_type="application/json")

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    pipe.send(f"http://127.0.0.1:{listener.getsockname()[1]}/bench")
    app = Starlette(routes=[Route("/bench", route)])
    config = uvicorn.Config(app, http="h11", access_log=False, log_level="error")
    uvicorn.Server(config).run([listener])


class Started:
    """A process, and the URL that it serves."""

    def __init__(self, target: Callable[..., None], *args: Any) -> None:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        self.process = context.Process(target=target, args=(theirs, *args), daemon=True)
        self.process.start()
        self.url: str = ours.recv()
        host, _, self.path = self.url.removeprefix("http://").partition("/")
        self.address, port = host.split(":")[0], int(host.split(":")[1])
        self.port = port

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def seconds_of(server: Started, path: str) -> float:
    """The median time of one request over one connection."""
    connection = HTTPConnection(server.address, server.port)
    times = []
    for _ in range(REQUESTS if path else ROUNDS):
        begin = time.perf_counter()
        connection.request("GET", f"/{server.path}{path}")
        connection.getresponse().read()
        times.append(time.perf_counter() - begin)
    connection.close()
    return statistics.median(times)


def rate_of(server: Started, seconds: int) -> float:
    """Requests per second, by wrk over 8 connections."""
    command = ["wrk", "-t1", "-c8", f"-d{seconds}s", server.url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([0-9.]+)", output)
    assert found is not None, output
    return float(found[1])


def answers(url: str) -> int | None:
    """The process that serves a URL."""
    address = url.removeprefix("http://").partition("/")[0]
    connection = HTTPConnection(address, timeout=1)
    try:
        connection.request("GET", "/healthz")
        body = connection.getresponse().read()
        return int(body.partition(b'"pid":')[2].partition(b"}")[0])
    except OSError:
        return None
    finally:
        connection.close()


def gap() -> float:
    """The seconds from a kill -9 to the first answer of the process that stood by."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    first = Started(serve, {"n": 1}, port)
    second = Started(serve, {"n": 1}, port)
    begin = time.perf_counter()
    first.kill()
    while answers(second.url) != second.process.pid:
        time.sleep(0.002)
    passed = time.perf_counter() - begin
    second.kill()
    return passed


def keys(number: int) -> dict[str, Any]:
    return {f"key{n}": {"value": n} for n in range(number)}


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory(prefix="ms-") as folder:
        os.environ["MEMSYNC_DIR"] = os.path.join(folder, "d")
        large = Started(serve, keys(100_000), 0)
        print(f"the whole object of 100,000 keys: {seconds_of(large, '') * 1000:.1f} ms")
        large.kill()
        times = {}
        for number in (1_000, 1_000_000):
            server = Started(serve, keys(number), 0)
            times[number] = seconds_of(server, "/key7")
            print(f"one key of {number:,}: {times[number] * 1e6:.0f} us")
            server.kill()
        print(f"ratio: {times[1_000_000] / times[1_000]:.2f} (aim: 1.2)")
        gaps = [gap() for _ in range(ROUNDS)]
        print("gap after a kill -9: " + ", ".join(f"{each * 1000:.0f}" for each in gaps) + " ms")
        if shutil.which("wrk"):
            ours, bare = Started(serve, {"num": 1}, 0), Started(serve_bare, b'{"num":1}')
            ratios = []
            for _ in range(ROUNDS):
                rates = rate_of(ours, seconds), rate_of(bare, seconds)
                ratios.append(rates[0] / rates[1])
                print(f"requests/s: {rates[0]:.0f}, bare {rates[1]:.0f}: {ratios[-1]:.2f} x")
            print(f"median: {statistics.median(ratios):.2f} x (aim: 0.8)")
            ours.kill()
            bare.kill()


if __name__ == "__main__":
    main()
