"""What plain multiprocessing clients may call: the object behind ``manager.document()``."""

from __future__ import annotations

import time
from typing import Any

from ..options import check_path, check_timeout
from ..runtime.awaited_write import Call
from ..runtime.participant import Participant


class DocumentProxy:
    """What a plain manager client gets from ``manager.document()``."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant

    def get(self, path: str | None = None) -> Any:
        """The detached value at a dotted path, None where there is none; without a path all."""
        if path not in (None, ""):
            check_path(path)
        return self._participant.value(path)

    def snapshot(self) -> dict[str, Any]:
        """The whole object, detached."""
        copy: dict[str, Any] = self._participant.value()
        return copy

    def version(self) -> int:
        """The version of the object."""
        return self._participant.replica.view_pair[1]

    def patch(self, update: Any, where: Any = None, timeout: float | None = None) -> int:
        """Write like `MemSync.patch`, as a write of the host's."""
        seconds = check_timeout(timeout, self._participant.options.timeout)
        call = Call(where, deadline=time.monotonic() + seconds)
        return self._participant.writer.patch(update, call, seconds)
