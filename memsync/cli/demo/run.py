"""The parent process of the demo: it starts the workers, kills the host and compares the counts."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path

from ...clocks import monotonic
from ...errors import MemSyncError
from ...testing import Cluster, Peer, PeerDied, private_folder, until
from .worker import Tally, add, join

TIMEOUT = 60.0  # seconds, besides the time for the writes
ALONE = {
    "engine": "local",
    "serverOnly": False,
    "clientOnly": False,
    "conflict": "timestamp",
    "peer": {"roles": ["writer"]},
    "network": {"maxWriters": None},
    "file": {"path": None, "journal": False},
    "server": {"port": None},
}
"""The options of the workers; the environment may be that of a service, with its file and port."""

SLOWEST_RATE = 100  # writes per second below which a run is given up; a laptop does thousands


class DemoError(Exception):
    """The demo could not be completed."""


class Worker:
    """A worker process and its tally file."""

    def __init__(self, peer: Peer, number: int, folder: Path) -> None:
        self.peer = peer
        self.number = number
        self._path = folder / f"tally-{number}"
        self._path.write_bytes(Tally().pack())

    @property
    def tally(self) -> Tally:
        """What the worker has recorded outside memsync."""
        return Tally.read(self._path)

    def begin(self, writes: int) -> None:
        """Have the process start to write."""
        self._ticket = self.peer.begin(add, self.number, writes, self._path)

    def finish(self, timeout: float) -> None:
        """Wait until all writes are acknowledged; raises what the worker raised."""
        self.peer.result(self._ticket, timeout)


Say = Callable[[str], object]


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)


def run(workers: int, writes: int, say: Say = say) -> bool:
    """Run the demo; returns whether every acknowledged increment is in the shared object.

    What happens goes to `say`, line by line.

    Raises `DemoError` when a worker fails or when the group makes no progress. No worker process
    outlives the call.
    """
    try:
        with private_folder() as folder, Cluster("demo") as cluster:
            return _run(cluster, folder, workers, writes, say)
    except (AssertionError, MemSyncError, OSError, PeerDied, RuntimeError) as error:
        raise DemoError(str(error)) from error


def _run(cluster: Cluster, folder: Path, workers: int, writes: int, say: Say) -> bool:
    founding = {"counter": 0, "by_worker": {}}
    with _ctrl_c_blocked():
        started = [
            cluster.peer(founding, ALONE, start=False, folder=folder) for _ in range(workers)
        ]
    for peer in started:
        peer.run(join)
    team = [Worker(peer, number, folder) for number, peer in enumerate(started)]
    say(f"{workers} worker processes share one counter; each adds 1 to it {writes} times")
    timeout = TIMEOUT + workers * writes / SLOWEST_RATE
    begin = monotonic()
    for worker in team:
        worker.begin(writes)
    _wait_for_half(team, workers * writes // 2, timeout)
    victim = _kill_host(cluster, say)
    survivors = [worker for worker in team if worker.peer is not victim]
    for worker in survivors:
        worker.finish(timeout)
    seconds = monotonic() - begin
    data = cluster.settled()
    is_complete = _compare(team, victim, data["by_worker"], data["counter"], say)
    say(f"writes per second: {data['counter'] / seconds:.0f}")
    say("nothing was lost" if is_complete else "WRITES WERE LOST")
    return is_complete


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Processes started in this block never see Ctrl-C: the parent handles it and ends them."""
    resource_tracker.ensure_running()  # on Python 3.11 its start would unblock the signal
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _wait_for_half(team: list[Worker], half: int, timeout: float) -> None:
    def is_reached() -> bool:
        for worker in team:
            if not worker.peer.alive:
                raise PeerDied(f"worker process {worker.peer.pid} ended by itself")
        return sum(worker.tally.acknowledged for worker in team) >= half

    until(is_reached, timeout, f"the counter has not reached {half}")


def _kill_host(cluster: Cluster, say: Say) -> Peer:
    """Kill the host, wait for its successor, and report both."""
    host = cluster.host()
    say(f"process {host.pid} is host (epoch {host.status()['epoch']}): killing it with SIGKILL")
    begin = monotonic()
    host.kill()
    successor = cluster.host()
    milliseconds = (monotonic() - begin) * 1000
    epoch = successor.status()["epoch"]
    say(f"process {successor.pid} is host (epoch {epoch}), {milliseconds:.0f} ms after the kill")
    return host


def _compare(
    team: list[Worker], victim: Peer, counts: dict[str, int], counter: int, say: Say = say
) -> bool:
    """Report the increments of each worker; returns whether none is missing or counted twice.

    The last increment of the killed worker may be in the object without an acknowledgement.
    """
    is_complete = counter == sum(counts.values())
    for worker in team:
        tally, count = worker.tally, counts.get(str(worker.number), 0)
        is_complete = is_complete and tally.acknowledged <= count <= tally.sent
        fate = " (killed)" if worker.peer is victim else ""
        say(
            f"process {worker.peer.pid}{fate}: {tally.acknowledged} increments acknowledged, "
            f"{count} in the shared object"
        )
    say(f"counter: {counter}")
    return is_complete
