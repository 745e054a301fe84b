"""The saver of a group of handles; when its host changes, so does the saver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import UsageError
from ..runtime.flushes import SLOW, too_late, wait_for_flush
from ..runtime.participant import Participant
from ..storage.host_storage import HostStorage
from ..storage.saver import MayWrite, stored_at


class GroupSaving:
    """The group's lock is held, except for `flush` and `status`."""

    def __init__(self) -> None:
        self._host: Participant | None = None
        self._storage: HostStorage | None = None

    def begin(self, host: Participant, may_write: MayWrite, durable: Callable[[int], None]) -> None:
        """An epoch has begun: its host saves, if the founder states a file."""
        journals = self._storage is not None and self._storage.journal is not None
        if host is self._host and not journals:
            if self._storage is not None:
                self._storage.go_on(may_write)
            return
        self._host = host
        if self._storage is not None:
            self._storage.stop(saves=False)
        self._storage = None
        if stored_at(host) is not None:
            epoch = host.state.epoch
            self._storage = HostStorage(host, epoch, may_write, durable, lambda: None)
            self._storage.start()

    def append(self, frame: bytes | bytearray) -> None:
        """The host has ordered an entry."""
        if self._storage is not None:
            self._storage.append(frame)

    def want(self, version: int) -> None:
        """A writer waits until the journal has a version on the disk."""
        if self._storage is not None and self._storage.journal is not None:
            self._storage.journal.want(version)

    def finish(self, timeout: float) -> None:
        """The last handle stops: save what has changed, for at most `timeout` seconds."""
        if self._storage is not None:
            self._storage.stop(saves=True)
            self._storage.join(timeout)
            if not self._storage.is_over:
                self._storage.give_up(timeout)

    def flush(self, timeout: float) -> None:
        """See `MemSync.flush`."""
        if self._storage is None:
            raise UsageError(
                "flush() needs a file: the handle that founds the object states file.path"
            )
        try:
            wait_for_flush(self._storage.request, timeout)
        except TimeoutError:
            raise too_late(timeout, SLOW) from None

    def status(self) -> dict[str, Any] | None:
        """See `MemSync.get_status`."""
        return None if self._storage is None else self._storage.status()
