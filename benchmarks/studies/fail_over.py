"""What others notice when the host is killed, stopped or frozen, and how long starts take.

Run: ``python -m benchmarks.studies.fail_over kills|stops|frozen|starts [TIMES] [--peers COUNT]``.
Each peer of a group of real processes increments a field of its own, one acknowledged write after
the other, as fast as it can; it reads the field back each time and notes both in a file that
survives SIGKILL. So a write that is lost or counted twice shows at once, and for those that were
killed in the end. After each time the group gets a new peer. Times are in milliseconds; the group
shares the machine's cores, so gaps without any fault are shown beside those with one.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from memsync import MemSync
from memsync.testing import Cluster, Peer, until
from tests.chaos import leftovers
from tests.process_helpers import log_to, start_helpers

TIMES = {"kills": 1000, "stops": 200, "frozen": 100, "starts": 100}
PEERS = 4
LEASE = 0.5  # seconds, where hosts are frozen
REMEMBERED = 3.0  # seconds for which acknowledgements are kept


class Acknowledged(NamedTuple):
    """A write, as its writer noted it; times on the clock that all processes share."""

    at: float
    begun: float
    epoch: int
    number: int  # how many writes the peer has made
    seen: int  # what it reads then


def has_passed(instant: float) -> bool:
    """True once the clock that all processes share is past an instant."""
    return time.monotonic() > instant


def write(mem: MemSync[Any], name: str, path: str) -> None:
    """Increment the own field until the driver stops it, or until a write fails."""
    logging.getLogger("memsync").setLevel(logging.ERROR)  # that hosts hang is no news here
    note = log_to(path)
    for number in count(1):
        if mem.__dict__.get("is_over"):
            return
        begun = time.monotonic()
        try:
            mem.patch({"$inc": {f"n.{name}": 1}})
        except Exception as error:
            note(f"error {error!r}")
            return
        at = time.monotonic()
        note(f"{at} {begun} {mem.epoch} {number} {mem.data['n'][name]}")


class Writer:
    """A peer that writes, and what it has noted."""

    def __init__(self, cluster: Cluster, name: str, folder: Path, options: Any) -> None:
        self.name = name
        self.recent: list[Acknowledged] = []
        self.acknowledged = self.lost = self.doubled = 0
        self.errors: list[str] = []
        self.may_fail = False  # it was stopped itself
        self.peer: Peer = cluster.peer({"n": {}}, options)
        self._path = folder / name
        self._path.touch()
        self._file = self._path.open()
        self._rest = ""
        self._ticket = self.peer.begin(write, name, str(self._path))

    def read(self) -> list[Acknowledged]:
        """The recent writes, after what is new was read."""
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        for line in lines:
            self._take(line)
        now = time.monotonic()
        self.recent = [each for each in self.recent if each.at > now - REMEMBERED]
        return self.recent

    def _take(self, line: str) -> None:
        if line.startswith("error"):
            self.errors.append(f"{self.name}: {line}")
            return
        at, begun, epoch, number, seen = line.split()
        each = Acknowledged(float(at), float(begun), int(epoch), int(number), int(seen))
        self.recent.append(each)
        self.lost += each.seen < each.number
        self.doubled += each.seen > each.number
        self.acknowledged = each.number

    def first_after(self, epoch: int) -> Acknowledged | None:
        """The first recent write that was acknowledged in a later epoch."""
        return next((each for each in self.read() if each.epoch > epoch), None)

    def gap(self, begin: float, end: float) -> float:
        """The longest time between two acknowledgements, of those that touch the given time."""
        pairs = pairwise(each.at for each in self.recent)
        return max((b - a for a, b in pairs if b >= begin and a <= end), default=0.0)

    def is_over(self) -> None:
        """Let it come to its end."""
        self.peer.run(lambda mem: mem.__dict__.__setitem__("is_over", True))
        self.peer.result(self._ticket)

    def close(self, value: int) -> None:
        """It has ended; `value` is what its field has in the end."""
        self.read()
        self._file.close()
        self.lost += value < self.acknowledged
        self.doubled += value > self.acknowledged + 1  # the last one may have been on its way


class Group:
    """The writers, those that have gone included."""

    def __init__(self, cluster: Cluster, size: int, options: Any = None) -> None:
        self._cluster = cluster
        self._folder = Path(os.environ["MEMSYNC_DIR"]).parent
        self._options = options
        self._size = size
        self._names = (f"w{number}" for number in count())
        self.all: list[Writer] = []
        self.living: list[Writer] = []

    def fill(self) -> None:
        """Start as many peers as are missing, and wait until all write in the same epoch."""
        while len(self.living) < self._size:
            writer = Writer(self._cluster, next(self._names), self._folder, self._options)
            self.living.append(writer)
            self.all.append(writer)
        epoch = self._cluster.host().status()["epoch"]
        self.wait_for_epoch(epoch - 1, self.living)

    def host(self) -> tuple[Writer, list[Writer], int]:
        """Who hosts, the others, and the epoch."""
        peer = self._cluster.host()
        (host,) = [writer for writer in self.living if writer.peer is peer]
        others = [writer for writer in self.living if writer is not host]
        return host, others, peer.status()["epoch"]

    def wait_for_epoch(self, epoch: int, writers: list[Writer]) -> list[Acknowledged]:
        """The first write of each that was acknowledged after an epoch."""
        found = []
        for writer in writers:
            first = until(partial(writer.first_after, epoch), message=f"{writer.name} is stuck")
            assert first is not None  # `until` returns no false value
            found.append(first)
        return found

    def forget(self, writer: Writer) -> None:
        """Its process is at its end."""
        writer.peer.dispose()
        self._cluster.peers.remove(writer.peer)
        self.living.remove(writer)

    def end(self) -> None:
        """Let all come to their end, and compare what they noted with the object."""
        for writer in self.living:
            writer.is_over()
        document = self._cluster.settled()
        for writer in self.all:
            writer.close(document["n"].get(writer.name, 0))

    def report(self) -> None:
        """What became of the writes."""
        errors = [e for writer in self.all if not writer.may_fail for e in writer.errors]
        print_number("acknowledged writes", sum(writer.acknowledged for writer in self.all))
        print_number("of these lost", sum(writer.lost for writer in self.all))
        print_number("writes that count twice", sum(writer.doubled for writer in self.all))
        print_number("errors in peers that live on", len(errors))
        for error in errors[:10]:
            print(f"  {error}")


def print_number(what: str, number: int) -> None:
    print(f"{what:60} {number:10,}")


def print_head() -> None:
    print(f"{'milliseconds':60} {'median':>10} {'p99':>10} {'maximum':>10}")


def print_times(what: str, seconds: list[float]) -> None:
    ordered = sorted(1000 * each for each in seconds)
    p99 = ordered[min(round(0.99 * len(ordered)), len(ordered) - 1)]
    print(f"{what:60} {statistics.median(ordered):10.2f} {p99:10.2f} {ordered[-1]:10.2f}")


# -- what is measured ------------------------------------------------------------------------------


def kills(cluster: Cluster, times: int, peers: int) -> None:
    """Kill the host, again and again."""
    group = Group(cluster, peers)
    first, last = [], []
    for _ in range(times):
        group.fill()
        host, others, epoch = group.host()
        killed_at = time.monotonic()
        host.peer.kill()
        found = group.wait_for_epoch(epoch, others)
        first.append(min(each.at for each in found) - killed_at)
        last.append(max(each.at for each in found) - killed_at)
        group.forget(host)
    group.end()
    print_number("kills of the host", times)
    group.report()
    print_head()
    print_times("from the kill to the next acknowledged write of a survivor", first)
    print_times("until every survivor has had one acknowledged", last)


def stops(cluster: Cluster, times: int, peers: int) -> None:
    """Stop the host, again and again; it writes itself until then."""
    group = Group(cluster, peers)
    gaps, quiet = [], []
    for _ in range(times):
        group.fill()
        host, others, epoch = group.host()
        host.may_fail = True
        begin = time.monotonic()
        host.peer.stop()
        found = group.wait_for_epoch(epoch, others)
        end = max(each.at for each in found)
        gaps.append(max(writer.gap(begin, end) for writer in others))
        quiet.append(max(writer.gap(begin - (end - begin), begin) for writer in others))
        group.forget(host)
    group.end()
    print_number("planned stops of the host", times)
    group.report()
    print_head()
    print_times("longest gap in the writing of the others", gaps)
    print_times("the same in as much time before", quiet)


def frozen(cluster: Cluster, times: int, peers: int) -> None:
    """Freeze the host for longer than its lease, again and again."""
    group = Group(cluster, peers, {"network": {"lease": LEASE}})
    gaps, late = [], 0
    for _ in range(times):
        group.fill()
        host, others, epoch = group.host()
        frozen_at = time.monotonic()
        host.peer.pause()
        found = group.wait_for_epoch(epoch, others)
        deposed_at = min(each.at for each in found)
        gaps.append(deposed_at - frozen_at)
        until(partial(has_passed, frozen_at + 2 * LEASE))
        host.peer.resume()
        group.wait_for_epoch(epoch, [host])
        late += sum(is_late(each, epoch, deposed_at) for w in group.living for each in w.recent)
    group.end()
    print_number(f"hosts frozen for longer than the lease of {LEASE} s", times)
    group.report()
    print_number("writes begun after a deposition that the old host acknowledged", late)
    print_head()
    print_times("from the freeze to the next acknowledged write of another", gaps)


def is_late(each: Acknowledged, epoch: int, deposed_at: float) -> bool:
    """Whether the old host has acknowledged what was only written when another one reigned."""
    return each.epoch <= epoch and each.begun > deposed_at


def starts(cluster: Cluster, times: int, peers: int) -> None:
    """Start, kill, start: alone, and beside clients that are just losing their host."""
    alone = [start_and_kill(cluster) for _ in range(2 * times)]
    group = [cluster.peer() for _ in range(max(peers - 1, 1))]
    beside = []
    for _ in range(times):
        newcomer, host = cluster.peer(start=False), cluster.host()
        host.kill()
        beside.append(newcomer.run(timed_start))
        group.append(newcomer)
        host.dispose()
        cluster.peers.remove(host)
    print_number("times (start, kill -9, start)", times)
    print_head()
    print_times("start, after the only peer was killed", alone)
    print_times("start, in the moment in which the host of others was killed", beside)


def start_and_kill(cluster: Cluster) -> float:
    """How long a start took, in seconds; the peer is killed then."""
    peer = cluster.peer(start=False)
    seconds: float = peer.run(timed_start)
    peer.dispose()
    cluster.peers.remove(peer)
    return seconds


def timed_start(mem: MemSync[Any]) -> float:
    """The seconds that a start takes; the process is there already."""
    begin = time.monotonic()
    mem.start()
    return time.monotonic() - begin


MEASUREMENTS: dict[str, Callable[[Cluster, int, int], None]] = {
    "kills": kills,
    "stops": stops,
    "frozen": frozen,
    "starts": starts,
}


def at_least(low: int) -> Callable[[str], int]:
    """A whole number from a lowest one on."""

    def number(text: str) -> int:
        if int(text) < low:
            raise argparse.ArgumentTypeError(f"{text} is too low: give a number from {low} on")
        return int(text)

    return number


def main() -> None:
    parser = argparse.ArgumentParser(description="What others notice when the host fails.")
    parser.add_argument("what", choices=MEASUREMENTS)
    parser.add_argument("times", type=at_least(1), nargs="?", help=f"default: {TIMES}")
    parser.add_argument("--peers", type=at_least(2), default=PEERS, help=f"default: {PEERS}")
    arguments = parser.parse_args()
    times = arguments.times or TIMES[arguments.what]
    print(f"fail_over {arguments.what} {times} --peers {arguments.peers}")
    start_helpers()
    with tempfile.TemporaryDirectory(prefix="ms-") as folder:
        os.environ["MEMSYNC_DIR"] = os.path.join(folder, "d")
        with Cluster() as cluster:
            MEASUREMENTS[arguments.what](cluster, times, arguments.peers)
        leftovers.remove(Path(os.environ["MEMSYNC_DIR"]))  # the witnesses are outside


if __name__ == "__main__":
    main()
