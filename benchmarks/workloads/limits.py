"""What the machine itself allows: no system of any kind, only what each of them is made of."""

from __future__ import annotations

import os
import socket
import statistics
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from memsync.replication.entries import Propose

from ..model import Bench, Measure, Workload
from ..processes import Worker
from .read import best

ROUND_TRIPS = 5000
SLEEPY_ROUND_TRIPS = 40
PAUSE = 0.02  # seconds after which a process has fallen asleep
SIZE = 64  # bytes of a message, about those of a write
ENCODINGS = 100_000


class Ends:
    """The ends that one process has of a socket and of two pipes."""

    def __init__(self, folder: Path, is_first: bool) -> None:
        listener = socket.socket(socket.AF_UNIX)
        if is_first:
            listener.bind(str(folder / "s"))
            listener.listen()
            self.socket, _ = listener.accept()
        else:
            self.socket = listener
            while listener.connect_ex(str(folder / "s")):
                time.sleep(0.01)
        flags = [os.O_RDONLY, os.O_WRONLY]  # a named pipe opens when both ends do
        there, back = (str(folder / name) for name in ("there", "back"))
        if is_first:
            self.incoming, self.outgoing = os.open(there, flags[0]), os.open(back, flags[1])
        else:
            self.outgoing, self.incoming = os.open(there, flags[1]), os.open(back, flags[0])

    def close(self) -> None:
        self.socket.close()


class Limits(Workload):
    name = "limits"
    title = "what the machine allows"
    unit = "us"
    rounds = 5
    notes = (
        "Round trips between two processes with messages of 64 bytes. A spinning process reads "
        "without waiting, until something is there. A wake-up is half a round trip.",
    )

    def open(self, bench: Bench) -> list[Measure]:
        folder = bench.folder
        for name in ("there", "back"):
            os.mkfifo(folder / name)
        ends = [Worker(Ends, folder, is_first) for is_first in (True, False)]
        for worker in ends:
            bench.stack.callback(worker.close)
        for worker in ends:
            worker.result()
        trips = bench.count(ROUND_TRIPS)
        sleepy = bench.count(SLEEPY_ROUND_TRIPS, 5)
        return [
            partial(exchange, ends, "socket round trip, blocking", over_socket, trips, 0.0),
            partial(exchange, ends, "socket round trip, spinning", spinning, trips, 0.0),
            partial(exchange, ends, "socket round trip, asleep", over_socket, sleepy, PAUSE),
            partial(exchange, ends, "pipe wake-up", over_pipe, trips, 0.0, 2),
            partial(exchange, ends, "pipe wake-up, asleep", over_pipe, sleepy, PAUSE, 2),
            partial(within_one_process, bench.count(ENCODINGS), trips),
        ]


def exchange(
    ends: list[Worker],
    name: str,
    function: Callable[..., float],
    times: int,
    pause: float,
    parts: int = 1,
) -> dict[str, float]:
    """Let two processes exchange messages; the median time, of both ways or of one."""
    ends[0].begin(function, True, times, 0.0)
    seconds = ends[1].run(function, False, times, pause)
    ends[0].result()
    return {name: seconds * 1e6 / parts}


def over_socket(ends: Ends, answers: bool, times: int, pause: float) -> float:
    read, send = ends.socket.recv, ends.socket.send
    return repeat(lambda: read(SIZE), lambda: send(bytes(SIZE)), answers, times, pause)


def spinning(ends: Ends, answers: bool, times: int, pause: float) -> float:
    receive, send = ends.socket.recv, ends.socket.send

    def read() -> None:
        while True:
            try:
                receive(SIZE, socket.MSG_DONTWAIT)
                return
            except BlockingIOError:
                pass

    return repeat(read, lambda: send(bytes(SIZE)), answers, times, pause)


def over_pipe(ends: Ends, answers: bool, times: int, pause: float) -> float:
    def read() -> None:
        os.read(ends.incoming, 1)

    def write() -> None:
        os.write(ends.outgoing, b"x")

    return repeat(read, write, answers, times, pause)


def repeat(
    read: Callable[[], object],
    write: Callable[[], object],
    answers: bool,
    times: int,
    pause: float,
) -> float:
    """Answer that many times, or ask; the median time in seconds from question to answer."""
    taken = []
    for _ in range(times):
        if answers:
            read()
            write()
            continue
        if pause:
            time.sleep(pause)
        begin = time.perf_counter()
        write()
        read()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken or [0.0])


def within_one_process(encodings: int, trips: int) -> dict[str, float]:
    """What needs no second process."""
    message = Propose(1234, 1200, 1_700_000_000_000 << 16, 1, 1234, "patch", {"$inc": {"n": 1}})
    encoder, decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder()
    data = encoder.encode(message)
    names = {"encode": encoder.encode, "m": message, "decode": decoder.decode, "b": data}
    return {
        "msgpack encode": best("encode(m)", names, encodings),
        "msgpack decode": best("decode(b)", names, encodings),
        "dict access": best("d['k']", {"d": {"k": 1}}, encodings),
        "thread wake-up": wake_threads(trips),
    }


def wake_threads(times: int) -> float:
    """Microseconds until a thread goes on for which another one has released a lock."""
    there, back = threading.Semaphore(0), threading.Semaphore(0)

    def answer() -> None:
        for _ in range(times):
            there.acquire()
            back.release()

    thread = threading.Thread(target=answer)
    thread.start()
    begin = time.perf_counter()
    for _ in range(times):
        there.release()
        back.acquire()
    seconds = time.perf_counter() - begin
    thread.join()
    return seconds / times / 2 * 1e6
