"""What plain multiprocessing clients may call: the object behind ``manager.document()``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..document import to_plain
from ..errors import UsageError
from ..options import check_timeout
from ..replication.sequencer import value_at

if TYPE_CHECKING:
    from .node import Node


class DocumentProxy:
    """What a plain manager client gets from ``manager.document()``."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def get(self, path: str | None = None) -> Any:
        """The detached value at a dotted path, None where there is none; without a path all."""
        if path is not None and not isinstance(path, str):
            raise UsageError(f"a path is a string like 'a.b.0', not {path!r:.60}")
        with self._node.guard:
            return value_at(self._node.state.document, path or "")

    def snapshot(self) -> dict[str, Any]:
        """The whole object, detached."""
        with self._node.guard:
            return to_plain(self._node.state.document)  # type: ignore[no-any-return]

    def version(self) -> int:
        """The version of the object."""
        return self._node.state.version

    def patch(self, update: Any, where: Any = None, timeout: float | None = None) -> int:
        """Write like `MemSync.patch`, as a write of the host's."""
        seconds = check_timeout(timeout, self._node.options.timeout)
        return self._node.own.patch(update, where, None, seconds)
