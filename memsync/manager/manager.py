"""`MemSyncManager`: a ``BaseManager`` for programs that use only multiprocessing.

>>> from memsync.manager import MemSyncManager
>>> address, authkey = MemSyncManager.locate("my_object")    # doctest: +SKIP
>>> manager = MemSyncManager(address, authkey)               # doctest: +SKIP
>>> manager.connect()                                        # doctest: +SKIP
>>> manager.document().get("foo.bar")                        # doctest: +SKIP
"""

from __future__ import annotations

from multiprocessing.managers import BaseManager
from typing import Any

from ..clocks import monotonic
from ..errors import UsageError
from ..options import check_name, check_path, check_timeout
from ..replication.lock_part import lock_facts
from ..runtime.call import Call
from ..runtime.participant import Participant
from .folder.folder import ObjectFolder
from .folder.records import Address
from .transport.server import MemSyncServer, ServerConfig

DOCUMENT_METHODS = ("get", "locks", "patch", "snapshot", "version")


class DocumentProxy:
    """The object behind ``manager.document()``; programs call the methods of its proxy."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant

    def get(self, path: str | None = None) -> Any:
        """The detached value at a dotted path, or None; without a path the whole object."""
        if path not in (None, ""):
            check_path(path)
        return self._participant.value(path)

    def snapshot(self) -> dict[str, Any]:
        copy: dict[str, Any] = self._participant.value()
        return copy

    def version(self) -> int:
        return self._participant.replica.view_pair[1]

    def locks(self) -> dict[str, dict[str, Any]]:
        """See `MemSync.locks`."""
        with self._participant.guard:
            return lock_facts(self._participant.state)

    def patch(self, update: Any, where: Any = None, timeout: float | None = None) -> int:
        """Write as `MemSync.patch` does, as the host."""
        seconds = check_timeout(timeout, self._participant.options.timeout)
        call = Call(where, deadline=monotonic() + seconds)
        return self._participant.writer.patch(update, call, seconds)


class MemSyncManager(BaseManager):
    """A multiprocessing manager that connects to a memsync host; only `MemSync` serves one."""

    _Server = MemSyncServer
    _registry: dict[str, Any]  # set by the base class; typeshed does not know these
    _address: Any
    _authkey: bytes
    _serializer: str

    def __init__(
        self,
        address: Address | None = None,
        authkey: bytes | None = None,
        *,
        config: ServerConfig | None = None,
    ) -> None:
        super().__init__(address=address, authkey=authkey)
        self._config = config

    @classmethod
    def locate(cls, name: str) -> tuple[Address, bytes]:
        """The address and the authkey of the object's host, from the rendezvous folder.

        Raises `RendezvousError` when no peer hosts the object or the folder cannot be used,
        `ProtocolError` when the host has another protocol number.
        """
        folder = ObjectFolder.existing(check_name(name))
        return folder.read_rendezvous()["address"], folder.key.read()

    def get_server(self) -> MemSyncServer:
        """The server of a host; the stdlib's method hard-codes its own class."""
        if self._config is None:
            raise UsageError(
                "a memsync host runs inside MemSync: call MemSync(...).start() instead"
            )
        return MemSyncServer(
            self._registry, self._address, self._authkey, self._serializer, self._config
        )

    def start(self, *args: Any, **kwds: Any) -> None:
        """Refused: no server process is needed."""
        raise UsageError("memsync has no server process: call MemSync(...).start() instead")


MemSyncManager.register("document", exposed=DOCUMENT_METHODS)
