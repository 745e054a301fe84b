"""The saver of a group of handles; when its host changes, so does the saver."""

from __future__ import annotations

from typing import Any

from ..errors import UsageError
from ..runtime.flushes import SLOW, too_late, wait_for_flush
from ..runtime.participant import Participant
from ..storage.saver import MayWrite, Saver, stored_at


class GroupSaving:
    """The group's lock is held, except for `flush` and `status`."""

    def __init__(self) -> None:
        self._host: Participant | None = None
        self._saver: Saver | None = None

    def begin(self, host: Participant, may_write: MayWrite) -> None:
        """An epoch has begun: a new host saves, if the founder states a file."""
        if host is self._host:
            if self._saver is not None:
                self._saver.touch()  # its copy may have been replaced by another one
            return
        self._host = host
        if self._saver is not None:
            self._saver.stop(saves=False)
        self._saver = None
        if stored_at(host) is not None:
            self._saver = Saver(host, may_write, lambda: None)
            self._saver.start()

    def finish(self, timeout: float) -> None:
        """The last handle stops: save what has changed, for at most `timeout` seconds."""
        if self._saver is not None:
            self._saver.stop(saves=True)
            self._saver.join(timeout)
            if not self._saver.is_over:
                self._saver.give_up(timeout)

    def flush(self, timeout: float) -> None:
        """See `MemSync.flush`."""
        if self._saver is None:
            raise UsageError(
                "flush() needs a file: the handle that founds the object states file.path"
            )
        try:
            wait_for_flush(self._saver.request, timeout)
        except TimeoutError:
            raise too_late(timeout, SLOW) from None

    def status(self) -> dict[str, Any] | None:
        """See `MemSync.get_status`."""
        return None if self._saver is None else self._saver.status()
