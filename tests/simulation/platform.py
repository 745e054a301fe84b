"""The platform that a simulated process runs on."""

from __future__ import annotations

import selectors
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memsync.manager.folder.records import Address
from memsync.manager.folder.watcher import Way
from memsync.manager.platform.platform import Platform
from memsync.manager.transport.server import ServerConfig

from .disk import ProcessFiles
from .network import Server

if TYPE_CHECKING:
    from .process import Process

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Waker:
    """Ends a wait of its process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.is_set = False

    def wake(self) -> None:
        self.is_set = True
        self._process.notify()

    def clear(self) -> None:
        self.is_set = False

    def close(self) -> None:
        self._process.call("close")


class Selector:
    """What a process waits for: channels, and its waker."""

    def __init__(self, process: Process, waker: Waker) -> None:
        self._process = process
        self._keys: dict[int, selectors.SelectorKey] = {}
        self.register(waker, READ)

    def register(self, fileobj: Any, events: int, data: Any = None) -> None:
        if id(fileobj) in self._keys:
            raise KeyError("registered twice")
        self._keys[id(fileobj)] = selectors.SelectorKey(fileobj, 0, events, data)
        self._process.notify()  # another thread of it may wait on this selector

    def change(self, fileobj: Any, events: int) -> None:
        key = self._keys[id(fileobj)]
        self._keys[id(fileobj)] = key._replace(events=events)
        self._process.notify()

    def unregister(self, fileobj: Any) -> None:
        del self._keys[id(fileobj)]

    def ready(self) -> list[tuple[selectors.SelectorKey, int]]:
        """The keys that are ready, and for what."""
        found = []
        for key in self._keys.values():
            mask = self._mask(key.fileobj) & key.events
            if mask:
                found.append((key, mask))
        return found

    def _mask(self, fileobj: Any) -> int:
        if isinstance(fileobj, Waker):
            return READ if fileobj.is_set else 0
        sock = fileobj.sock
        mask = READ if sock.inbound.is_readable else 0
        pipe = sock.outbound
        if len(pipe.buffer) < pipe.capacity or sock.other.closed:
            mask |= WRITE
        return mask


class VirtualPlatform(Platform):
    """The platform as one process sees it: each request to it is a `call`."""

    files: Any

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world
        self.files = ProcessFiles(process)

    def monotonic(self) -> float:
        self._process.read_clock()
        return self._world.now + self._process.boot

    def wall_ms(self) -> int:
        return self._process.wall_ms()

    def task_id(self) -> int:
        return self._process.task_id

    def pid(self) -> int:
        return int(self._process.name[1:]) + 1

    def processors(self) -> int:
        return 2  # on every machine, so that a seed means the same everywhere

    def new_id(self) -> str:
        return f"{self._world.streams['ids'].getrandbits(64):016x}"

    def new_waker(self) -> Any:
        return Waker(self._process)

    def new_selector(self, waker: Any) -> Any:
        return Selector(self._process, waker)

    def drop_selector(self, selector: Any) -> None:
        self._process.call("close")

    def watch(self, path: Path, wake: Callable[[], None], way: Way) -> bool:
        self._process.disk.watch(self._process, wake)
        return True

    def unwatch(self, path: Path, wake: Callable[[], None], way: Way) -> None:
        self._process.disk.unwatch(self._process)

    def serve(self, address: Address, authkey: bytes, config: ServerConfig) -> Any:
        self._process.call("listen")
        assert isinstance(address, str)
        server = Server(self._process, address, config)
        self._process.servers.append(server)
        return server

    def waits(self) -> int | None:
        return None

    def other_threads_cpu(self) -> float | None:
        return None

    def buggify(self, point: str) -> bool:
        return self._world.buggify(point)
