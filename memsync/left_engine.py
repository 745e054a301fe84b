"""What a handle has in the place of its engine once it has left a peer that others use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import Engine, EngineStatus


class LeftEngine:
    """The engine of a handle that has stopped while other handles use its peer; see `Engine`."""

    is_ended = True

    def __init__(self, engine: Engine, since: float) -> None:
        self.where = engine.where
        self.pid = engine.pid
        self.participant = engine.participant
        self._since = since

    def start(self, timeout: float) -> str:
        raise AssertionError("an engine is started once")

    def stop(self, timeout: float, last_save: float = 0.0) -> None:
        pass

    def status(self) -> EngineStatus:
        from .engine import EngineStatus

        return EngineStatus("stopped", self._since, "stopped", None)

    def ping(self, timeout: float) -> dict[str, Any]:
        raise AssertionError("the handle has stopped")

    def flush(self, timeout: float) -> None:
        raise AssertionError("the handle has stopped")

    def close_after_fork(self) -> None:
        pass
