"""What a trivial call costs: memsync beside a proxy of `BaseManager`, and Pyro5 if it is there.

Run: ``python -m benchmarks.studies.calls [ROUNDS]``. One process offers ``add``, this one calls it.
The systems take turns, `CALLS` calls each, ROUNDS times; the median of the rounds counts. Pyro5 is
installed into a folder of the run if it is missing and a package index can be reached.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Any

from memsync import MemSync
from memsync.testing import Cluster

ROUNDS = 15
CALLS = 400

Call = Callable[[], object]


def add(a: int, b: int) -> int:
    """What is called."""
    return a + b


class Adder:
    """The same as an object, for `BaseManager`."""

    def add(self, a: int, b: int) -> int:
        return a + b


class PlainManager(BaseManager):
    """A manager of the standard library."""


PlainManager.register("Adder", Adder)

PYRO = """
import Pyro5.api

@Pyro5.api.expose
class Adder:
    def add(self, a, b):
        return a + b

daemon = Pyro5.api.Daemon(unixsocket={path!r})
print(daemon.register(Adder, "adder"), flush=True)
daemon.requestLoop()
"""


@contextmanager
def memsync_calls() -> Iterator[dict[str, Call]]:
    """One call after the other, and 100 at a time."""
    with Cluster() as cluster:
        cluster.peer(rpc={"add": add})
        with MemSync(cluster.name) as mem:

            def pipelined() -> None:
                for future in [mem.rpc.submit("add", 1, 2) for _ in range(100)]:
                    future.result()

            yield {
                "memsync, mem.call": lambda: mem.call("add", 1, 2),
                "memsync, 100 x rpc.submit": pipelined,
                "memsync, patch (acknowledged $inc)": lambda: mem.patch({"$inc": {"n": 1}}),
            }


@contextmanager
def manager_calls() -> Iterator[dict[str, Call]]:
    """A proxy of a manager."""
    with PlainManager() as manager:
        proxy: Any = manager.Adder()  # type: ignore[attr-defined]
        yield {"BaseManager, proxy": lambda: proxy.add(1, 2)}


@contextmanager
def pyro_calls(folder: str) -> Iterator[dict[str, Call]]:
    """A proxy of Pyro5 over a Unix socket; nothing where it cannot be had."""
    if not has_pyro(folder):
        print("Pyro5 is not measured: it cannot be installed")
        yield {}
        return
    server = subprocess.Popen(
        [sys.executable, "-c", PYRO.format(path=f"{folder}/pyro.sock")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([folder, *sys.path])},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        import Pyro5.api  # type: ignore[import-not-found]

        assert server.stdout is not None
        with Pyro5.api.Proxy(server.stdout.readline().strip()) as proxy:
            yield {"Pyro5, proxy": lambda: proxy.add(1, 2)}
    finally:
        server.kill()
        server.communicate()


def has_pyro(folder: str) -> bool:
    """Whether Pyro5 can be imported, if need be after its installation into a folder."""
    sys.path.append(folder)
    try:
        import Pyro5.api  # noqa: F401
    except ImportError:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, "Pyro5"]
        if subprocess.run(command, check=False).returncode:
            return False
    return True


def measure(systems: dict[str, Call], rounds: int) -> dict[str, list[float]]:
    """Microseconds of one call, by system; one figure for each round."""
    found: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(rounds):
        for name, call in systems.items():
            times = CALLS if "100 x" not in name else CALLS // 100
            share = CALLS if "100 x" in name else times
            call()
            begun = time.perf_counter()
            for _ in range(times):
                call()
            found[name].append((time.perf_counter() - begun) / share * 1e6)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", type=int, nargs="?", default=ROUNDS)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        os.environ["MEMSYNC_DIR"] = str(Path(folder) / "memsync")
        systems: dict[str, Call] = {}
        for offered in (memsync_calls(), manager_calls(), pyro_calls(folder)):
            systems |= stack.enter_context(offered)
        found = measure(systems, rounds)
    first = statistics.median(found["memsync, mem.call"])
    print(f"{'us per call':<36} {'median':>8} {'least':>8} {'ratio':>7}")
    for name, each in found.items():
        median = statistics.median(each)
        print(f"{name:<36} {median:8.0f} {min(each):8.0f} {median / first:7.2f}")


if __name__ == "__main__":
    main()
