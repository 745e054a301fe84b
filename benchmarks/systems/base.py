"""What the benchmark asks of memsync and of each alternative."""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from ..processes import METHOD, BrokeOff, Worker, WorkerFailed, run_all

DATA = {"n": 0, "k": 1}
POLL = 0.003  # seconds between two checks whether a process is up to date
PATIENCE = 60.0


class Client(ABC):
    """The access of one process to the shared object ``{"n": 0, "k": 1}``."""

    def read_statement(self) -> tuple[str, dict[str, Any]]:
        """A statement that reads ``k``, and the names in it."""
        raise NotImplementedError

    @abstractmethod
    def write(self, times: int) -> None:
        """Write ``n`` that many times and wait for each; all followers get to know each write."""

    def increment(self, times: int) -> None:
        """Add 1 to ``n`` that many times and wait for each; exact beside other writers."""
        self.write(times)

    def increment_pipelined(self, times: int) -> None:
        """The same without waiting for each; returns when all are acknowledged."""
        raise NotImplementedError

    def publish_pipelined(self, times: int) -> None:
        """Write that many times without waiting for each; followers get to know each write."""
        self.increment_pipelined(times)

    @abstractmethod
    def count(self) -> int:
        """The value of ``n``."""

    def follow(self) -> None:  # noqa: B027  # most have nothing to do for it
        """Take notice of all writes from now on, as a replica does; returns at once."""

    def seen(self) -> int:
        """How many writes have reached this process, counted from any start."""
        return self.count()

    def fill(self, keys: Mapping[str, Any]) -> None:
        """Write many keys at once and wait until that is acknowledged."""
        raise NotImplementedError

    def copy(self) -> Mapping[Any, Any]:
        """All keys, in this process."""
        raise NotImplementedError

    def write_text(self, text: str) -> None:
        """Write one large value and wait for it; all followers get it."""
        raise NotImplementedError

    def close(self) -> None:  # noqa: B027  # most have nothing to close
        """Leave the group."""


class System(ABC):
    """One way to share an object. It is sent to the processes, which call `serve` or `connect`."""

    name: str
    packages: ClassVar[tuple[str, ...]] = ()
    programs: ClassVar[tuple[str, ...]] = ()
    folder: Path
    size: int
    data: Mapping[str, Any] = DATA
    path: Path | None = None  # where its processes import from first

    @property
    def kind(self) -> str:
        """The name without what distinguishes two groups of one system."""
        return self.name.partition(",")[0]

    @classmethod
    def missing(cls) -> str:
        """What is not installed, or an empty string."""
        packages = [f"package {name}" for name in cls.packages if find_spec(name) is None]
        programs = [f"program {name}" for name in cls.programs if shutil.which(name) is None]
        return ", ".join(packages + programs)

    def prepare(self, folder: Path, size: int) -> None:
        """Called before the processes start; `size` is the number of those that connect."""
        self.folder, self.size = folder, size

    def environment(self) -> dict[str, str]:
        """Environment variables of the processes."""
        return {}

    @abstractmethod
    def serve(self) -> Any:
        """Run in the first process: make the object; what is returned is kept."""

    @abstractmethod
    def connect(self, number: int) -> Client:
        """Run in each of the other processes, which are numbered from 0 on."""

    def remove_files(self) -> None:  # noqa: B027  # most leave nothing
        """Remove what is left outside the folder."""


class Group:
    """The processes that use one system: one that serves, and `workers` that connect."""

    def __init__(
        self,
        system: System,
        size: int,
        folder: Path,
        stack: ExitStack,
        *,
        data: Mapping[str, Any] | None = None,
        method: str = METHOD,
    ) -> None:
        self.system, self._stack = system, stack
        self.method = "spawn" if system.path else method
        folder.mkdir(mode=0o700)
        if data is not None:
            system.data = data
        system.prepare(folder, size)
        stack.callback(system.remove_files)
        self.server = self._start(system.serve)
        if system.name != "PySyncObj":  # its first process waits for the others
            self.server.result()
        self.workers = [self._start(system.connect, number) for number in range(size)]
        if system.name == "PySyncObj":
            self.server.result()
        try:
            for worker in self.workers:
                worker.result()
        except WorkerFailed as error:
            raise BrokeOff(str(error)) from None

    def _start(self, make: Any, *arguments: Any) -> Worker:
        worker = Worker(
            make,
            *arguments,
            environment=self.system.environment(),
            method=self.method,
            path=self.system.path,
            system=self.system.name,
        )
        self._stack.callback(worker.close)
        return worker

    def add(self, number: int = 0) -> Worker:
        """One more process that connects."""
        worker = self._start(self.system.connect, number)
        worker.result()
        self.workers.append(worker)
        return worker

    def pids(self) -> list[int]:
        """All processes, the server of the system included."""
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children")
        started = [int(pid) for pid in children.read_text().split()]
        return [self.server.pid, *started, *(worker.pid for worker in self.workers)]

    def follow(self, workers: list[Worker] | None = None) -> None:
        run_all(self.workers if workers is None else workers, "follow")

    def wait_until_seen(self, number: int, workers: list[Worker]) -> None:
        """Wait until processes have taken notice of that many writes."""
        run_all(workers, until_seen, number)


def until_seen(client: Client, number: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while client.seen() < number:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{client.seen()} of {number} writes have arrived")
        time.sleep(POLL)
