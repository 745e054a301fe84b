"""What plain multiprocessing clients may call: the object behind ``manager.document()``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..document import to_plain
from ..options import check_path, check_timeout
from ..replication.compiling import value_at
from .pending_write import Call

if TYPE_CHECKING:
    from .node import Node


class DocumentProxy:
    """What a plain manager client gets from ``manager.document()``."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def get(self, path: str | None = None) -> Any:
        """The detached value at a dotted path, None where there is none; without a path all."""
        if path not in (None, ""):
            check_path(path)
        with self._node.guard:
            return value_at(self._node.replica.live, path or "")

    def snapshot(self) -> dict[str, Any]:
        """The whole object, detached."""
        with self._node.guard:
            copy: dict[str, Any] = to_plain(self._node.replica.live)
        return copy

    def version(self) -> int:
        """The version of the object."""
        return self._node.replica.shown[1]

    def patch(self, update: Any, where: Any = None, timeout: float | None = None) -> int:
        """Write like `MemSync.patch`, as a write of the host's."""
        seconds = check_timeout(timeout, self._node.options.timeout)
        call = Call(where, deadline=time.monotonic() + seconds)
        return self._node.own.patch(update, call, seconds)
