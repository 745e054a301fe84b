"""The object behind ``manager.document()``, for programs that use only multiprocessing."""

from __future__ import annotations

import time
from typing import Any

from ..options import check_path, check_timeout
from ..runtime.awaited_write import Call
from ..runtime.participant import Participant


class DocumentProxy:
    """The methods of a proxy to the object of a host."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant

    def get(self, path: str | None = None) -> Any:
        """The detached value at a dotted path, or None; without a path the whole object."""
        if path not in (None, ""):
            check_path(path)
        return self._participant.value(path)

    def snapshot(self) -> dict[str, Any]:
        """The whole object, detached."""
        return self._participant.snapshot()

    def version(self) -> int:
        """The version of the object."""
        return self._participant.replica.view_pair[1]

    def patch(self, update: Any, where: Any = None, timeout: float | None = None) -> int:
        """Write as `MemSync.patch` does, as the host."""
        seconds = check_timeout(timeout, self._participant.options.timeout)
        call = Call(where, deadline=time.monotonic() + seconds)
        return self._participant.writer.patch(update, call, seconds)
