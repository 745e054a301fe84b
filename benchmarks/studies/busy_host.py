"""What a client's writes cost when the process that hosts burns CPU in pure Python.

Run: ``python -m benchmarks.studies.busy_host [TIMES]``. A client that never hosts makes one
acknowledged write after the other, beside the host and one other peer. Each case is measured for
some seconds, case after case, and the whole TIMES times. `SETTLING` seconds pass between the moment
in which a process gets busy and the measurement. "not relieved" switches stepping down off. In the
case where a peer that does not host is busy, the two cores are as busy as in the other cases, but
no write waits for the busy process.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from memsync import MemSync
from memsync.testing import Cluster, Peer, until
from tests.chaos import leftovers
from tests.process_helpers import driver_of

from .fail_over import at_least

TIMES = 5
SETTLING = 2.0  # seconds
MEASURED = 3.0  # seconds


def get_busy(mem: MemSync[Any]) -> None:
    """A thread counts, until the process ends."""
    import threading

    def burn() -> None:
        while True:
            sum(range(100))

    threading.Thread(target=burn, name="busy", daemon=True).start()


def stay_host(mem: MemSync[Any]) -> None:
    driver_of(mem).ctx.no_step_down_before = math.inf


def write_for(mem: MemSync[Any], seconds: float) -> list[float]:
    """Increment; returns how long each time took, in milliseconds."""
    took = []
    end = time.monotonic() + seconds
    while (begun := time.monotonic()) < end:
        mem.patch({"$inc": {"n": 1}})
        took.append(1000 * (time.monotonic() - begun))
    return took


def measure(busy: str, relieved: bool, dedicated: bool) -> list[float]:
    """The writes of a client, in a new group whose host, or other peer, or nobody, gets busy."""
    with Cluster() as cluster:
        host = cluster.peer({"n": 0}, {"serverOnly": dedicated})
        other = cluster.peer()
        client: Peer = cluster.peer(None, {"clientOnly": True})
        if not relieved:
            host.run(stay_host)
        until(lambda: len(client.run(lambda mem: mem.peers)) == 2)
        if busy:
            {"host": host, "other": other}[busy].run(get_busy)
        client.run(write_for, SETTLING)
        took: list[float] = client.run(write_for, MEASURED)
        has_moved = host.status()["status"] != "host"
        if has_moved != (busy == "host" and relieved):
            raise AssertionError(f"the host has {'' if has_moved else 'not '}moved")
        return took


CASES: dict[str, Callable[[], list[float]]] = {
    "nobody is busy": partial(measure, "", True, False),
    "a peer that does not host is busy": partial(measure, "other", True, False),
    "the same, with a dedicated host": partial(measure, "other", True, True),
    "the host is busy, not relieved": partial(measure, "host", False, False),
    "the host is busy, relieved": partial(measure, "host", True, False),
}


def quantile(ordered: list[float], share: float) -> float:
    return ordered[min(round(share * len(ordered)), len(ordered) - 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description="What writes cost when the host is busy.")
    parser.add_argument("times", type=at_least(1), nargs="?", default=TIMES)
    times = parser.parse_args().times
    print(f"python -m benchmarks.studies.busy_host {times}")
    medians: dict[str, list[float]] = {name: [] for name in CASES}
    p99s: dict[str, list[float]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory(prefix="ms-") as folder:
        os.environ["MEMSYNC_DIR"] = os.path.join(folder, "d")
        for _ in range(times):
            for name, case in CASES.items():
                took = sorted(case())
                medians[name].append(statistics.median(took))
                p99s[name].append(quantile(took, 0.99))
        leftovers.remove(Path(os.environ["MEMSYNC_DIR"]))  # the witnesses are outside
    print(
        f"{'milliseconds; medians of the runs':40} {'median':>10} {'p99':>10} {'p99 to first':>14}"
    )
    idle = statistics.median(p99s["nobody is busy"])
    for name in CASES:
        p99 = statistics.median(p99s[name])
        print(f"{name:40} {statistics.median(medians[name]):10.2f} {p99:10.2f} {p99 / idle:14.1f}")


if __name__ == "__main__":
    main()
