"""Redis: a server without persistence on a Unix socket, started here. Followers subscribe."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from .base import Client, System

CHANNEL = "writes"
TOGETHER = 1000  # commands in one pipeline
PATIENCE = 10.0
SCRIPT = f"""
local n = redis.call('INCR', 'n')
redis.call('PUBLISH', '{CHANNEL}', n)
return n
"""


class RedisClient(Client):
    def __init__(self, folder: Path) -> None:
        redis: Any = import_module("redis")
        self.redis = redis.Redis(unix_socket_path=str(folder / "s"))
        self.redis.ping()
        self._seen = 0

    def read_statement(self) -> tuple[str, dict[str, Any]]:
        return "get('k')", {"get": self.redis.get}

    def write(self, times: int) -> None:
        increment, publish = self.redis.incr, self.redis.publish
        for _ in range(times):
            publish(CHANNEL, increment("n"))  # the message says what the value is now

    def increment(self, times: int) -> None:
        increment = self.redis.incr
        for _ in range(times):
            increment("n")

    def increment_pipelined(self, times: int) -> None:
        for begin in range(0, times, TOGETHER):
            pipe = self.redis.pipeline(transaction=False)
            for _ in range(begin, min(begin + TOGETHER, times)):
                pipe.incr("n")
            pipe.execute()

    def publish_pipelined(self, times: int) -> None:
        for begin in range(0, times, TOGETHER):
            pipe = self.redis.pipeline(transaction=False)
            for _ in range(begin, min(begin + TOGETHER, times)):
                pipe.publish(CHANNEL, 1)
            pipe.execute()

    def count(self) -> int:
        return int(self.redis.get("n") or 0)

    def follow(self) -> None:
        pubsub = self.redis.pubsub(ignore_subscribe_messages=True)
        pubsub.subscribe(CHANNEL)
        pubsub.get_message(timeout=PATIENCE)  # the answer to the subscription
        threading.Thread(target=self._listen, args=(pubsub,), daemon=True).start()

    def _listen(self, pubsub: Any) -> None:
        for _ in pubsub.listen():
            self._seen += 1

    def seen(self) -> int:
        return self._seen

    def fill(self, keys: Mapping[str, Any]) -> None:
        self.redis.hset("h", mapping=keys)

    def copy(self) -> Mapping[bytes, bytes]:
        found: Mapping[bytes, bytes] = self.redis.hgetall("h")
        return found

    def write_text(self, text: str) -> None:
        pipe = self.redis.pipeline(transaction=False)
        pipe.set("text", text)
        pipe.publish(CHANNEL, text)
        pipe.execute()


class ScriptClient(RedisClient):
    def write(self, times: int) -> None:
        script = self.redis.register_script(SCRIPT)
        for _ in range(times):
            script()


def _end_with_parent() -> None:
    """In the child before it becomes the program: ask Linux to kill it when its parent ends."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


class Server:
    """The program; on Linux it ends with the process that started it."""

    def __init__(self, folder: Path) -> None:
        socket = folder / "s"
        command = ["redis-server", "--port", "0", "--unixsocket", str(socket)]
        command += ["--save", "", "--appendonly", "no", "--dir", str(folder)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, preexec_fn=_end_with_parent
        )
        deadline = time.monotonic() + PATIENCE
        while not socket.exists():
            if (code := self._process.poll()) is not None:
                raise RuntimeError(f"redis-server has ended with {code}")
            if time.monotonic() > deadline:
                self.close()
                raise TimeoutError("redis-server does not start")
            time.sleep(0.01)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Redis(System):
    name = "Redis"
    packages = ("redis",)
    programs = ("redis-server",)

    def serve(self) -> Server:
        server = Server(self.folder)
        try:
            client = RedisClient(self.folder)
            client.redis.mset({"n": 0, "k": 1})
        except BaseException:
            server.close()
            raise
        return server

    def connect(self, number: int) -> Client:
        return RedisClient(self.folder)


class RedisScript(Redis):
    """The same with one round trip for a write, for which the program brings a Lua script."""

    name = "Redis: script"

    def connect(self, number: int) -> Client:
        return ScriptClient(self.folder)
