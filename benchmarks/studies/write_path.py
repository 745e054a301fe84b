"""What a client's acknowledged write costs, step by step.

Run: ``python -m benchmarks.studies.write_path [ROUNDS]``. The steps are timed in one process, on
the very classes that run in production, in the order of the write path (ARCHITECTURE.md); the whole
is timed with a host in a process of its own. What the steps do not explain is the kernel, the
scheduler and the way between threads and sockets. Medians, in microseconds.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from memsync import MemSync
from memsync.document import check_update, write_set
from memsync.manager.transport.messages import parse
from memsync.replication.clock import HybridClock
from memsync.replication.codec import HEADER, frame
from memsync.replication.compile_proposal import compile_proposal
from memsync.replication.entries import Propose
from memsync.replication.kinds import KINDS
from memsync.replication.log import Log
from memsync.replication.pending import PendingWrite, PendingWrites
from memsync.replication.replica import Replica
from memsync.replication.sequencer import Ordered, Sequencer
from memsync.replication.state import State

ROUNDS = 5000
UPDATE = {"$inc": {"n": 1}}
DATA = {"n": 0, "other": {"list": [1, 2, 3]}}


def new_replica(peer: str) -> Replica[PendingWrite]:
    """A copy of a new object."""
    guard = threading.RLock()
    log = Log(0, 0, max_entries=10_000, max_bytes=1 << 26)
    replica: Replica[PendingWrite] = Replica(
        peer, State(guard, KINDS), log, PendingWrites(keep=1024), guard
    )
    replica.bootstrap(DATA, {})
    replica.publish()
    return replica


def show_all(replica: Replica[PendingWrite]) -> None:
    """Show what has arrived, and drop the news about own writes."""
    replica.advance(replica.publish())


class Steps:
    """Times of named steps, over many rounds."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def __call__(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        begin = time.perf_counter()
        result = function(*args)
        self.times.setdefault(name, []).append((time.perf_counter() - begin) * 1e6)
        return result

    def medians(self) -> dict[str, float]:
        """The median of each step, less what timing nothing costs."""
        for _ in range(1000):
            self("nothing", int)
        idle = statistics.median(self.times.pop("nothing"))
        return {name: statistics.median(times) - idle for name, times in self.times.items()}


def pure_steps(rounds: int) -> dict[str, float]:
    """The steps without sockets and threads."""
    host, client = new_replica("host"), new_replica("client")
    sequencer = Sequencer(
        host.state, host.log, HybridClock(), host="host", epoch=1, max_frame=1 << 26
    )
    sequencer.append_system("epoch", {"host": "host", "pid": 1, "address": ""})
    member = {"id": "client", "pid": 1, "roles": ["writer"], "methods": [], "maxWriters": None}
    sequencer.append_system("member", {"join": member})
    sequencer.attach("client", 1)
    for entry in host.log.newest(0, 10, 1 << 20):
        client.apply(entry, frame(entry)[HEADER:])
        host.ordered(entry)
    show_all(host)
    show_all(client)
    step, clock = Steps(), HybridClock()
    for number in range(1, rounds + 1):
        body = step("client: check the update", check_update, UPDATE, [])
        timestamp = clock.tick(time.time_ns() // 1_000_000)
        proposal = Propose(
            number, client.writes.first_open, timestamp, *client.view_pair, "patch", body
        )
        sent = step("client: encode the proposal", frame, proposal)
        step("client: compile it and show it", client.show, PendingWrite(proposal))
        received = step("host: decode the proposal", parse, sent[HEADER:])
        step("host: (of the next) name its paths", write_set, received.body)
        step("host: (of the next) compile it", compile_proposal, host.state.document, received, 1)
        ordered = step("host: order it: name, decide, compile, apply, log, encode",
                       sequencer.propose, "client", received)  # fmt: skip
        assert isinstance(ordered, Ordered)
        host.ordered(ordered.entry)
        step("host: show it", show_all, host)
        answer = step("client: decode the entry", parse, ordered.frame[HEADER:])
        step(
            "client: apply it to the confirmed state", client.apply, answer, ordered.frame[HEADER:]
        )
        step("client: publish: what is shown stays", show_all, client)
    return step.medians()


def be_host(pipe: Connection) -> None:
    """The other process."""
    with MemSync("write_path", DATA):
        pipe.send("ready")
        pipe.recv()


def whole(rounds: int) -> float:
    """One acknowledged write of a client, with a host in another process."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=be_host, args=(theirs,))
    process.start()
    ours.recv()
    step = Steps()
    mem: MemSync[Any] = MemSync("write_path")
    with mem:
        for _ in range(rounds):
            step("all", mem.patch, UPDATE)
    ours.send("end")
    process.join()
    return step.medians()["all"]


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory(prefix="ms-") as folder:
        os.environ["MEMSYNC_DIR"] = os.path.join(folder, "d")
        total = whole(rounds)
    explained = 0.0
    for name, cost in pure_steps(rounds).items():
        print(f"{name:60} {cost:7.2f}")
        explained += 0 if "(of the next)" in name else cost
    print(f"{'sockets, scheduling, threads (what is left)':60} {total - explained:7.2f}")
    print(f"{'one acknowledged write':60} {total:7.2f}")


if __name__ == "__main__":
    main()
