"""Kill processes between a patch and its event: ``python -m tests.process.kill_rounds``.

The processes die by a signal of their own, at a time drawn from the number of the kill, while they
write patches with events: as a client in one round, as the host in the next one. A witness then
must have got exactly the events whose patches are in the object, in the same order.
"""

from __future__ import annotations

import argparse
import os
import signal
from typing import Any

from memsync import MemSync
from memsync.testing import Cluster, PeerDied, until
from memsync.testing.temporary_folder import private_folder

_got: list[Any] = []  # in the witness


def listen(mem: MemSync[Any]) -> None:
    mem.events.on("e", lambda pid, number: _got.append([pid, number]))
    mem.on("gap", lambda count: _got.append(count))


def got(mem: MemSync[Any]) -> list[Any]:
    return list(_got)


def patch_and_die(mem: MemSync[Any], seconds: float) -> None:
    """Die by a signal that comes while writes with events are on their way."""
    signal.setitimer(signal.ITIMER_REAL, seconds)  # its signal has no handler
    for n in range(100_000):
        mem.submit({"$push": {"log": [os.getpid(), n]}}, emit=("e", os.getpid(), n))


def kill_in_turn(cluster: Cluster, kills: int, first: int = 0) -> int:
    """Kill so many processes; returns how many patches with events outlived them.

    Raises `AssertionError` if one is there without the other.
    """
    standing = cluster.start(1, {"log": []})[0]
    witness = cluster.start(1, options={"clientOnly": True})[0]
    witness.run(listen)
    for number in range(kills):
        assert cluster.host() is standing  # or the heir might be faster
        heir = cluster.start(1)[0]
        dying, standing = (heir, standing) if number % 2 else (standing, heir)
        assert (dying.status()["status"] == "host") == (number % 2 == 0)
        try:
            dying.run(patch_and_die, ((first + number) * 137 % 500 + 50) / 10_000)
        except PeerDied:
            pass
        else:
            raise AssertionError("the signal did not kill the process")
    assert cluster.host() is standing
    until(lambda: standing.status()["peers"] == 1)  # it has read all that the dead have sent
    data = cluster.settled()
    until(lambda: len(witness.run(got)) >= len(data["log"]), message="events are missing")
    assert witness.run(got) == data["log"]
    return len(data["log"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="the number of the first kill")
    chosen = parser.parse_args()
    done = written = 0
    while done < chosen.kills:  # the log grows, and with it what each newcomer loads
        kills = min(50, chosen.kills - done)
        with private_folder() as folder, Cluster() as cluster:
            os.environ["MEMSYNC_DIR"] = str(folder)
            written += kill_in_turn(cluster, kills, chosen.first + done)
        done += kills
        print(f"kills={done} writes={written} one_without_the_other=0", flush=True)


if __name__ == "__main__":
    from tests.process import kill_rounds  # peers find its functions by this name

    kill_rounds.main()
