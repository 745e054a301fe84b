"""A peer's copy as it is brought level and kept so: entries and snapshot parts in, state out.

Two ways lead to a given pair ``(epoch, version)``: entries, if the other side's log holds the pair
from which we come, else a snapshot in parts. The same two functions serve both directions: a host
that brings a client level, and a survivor that brings a candidate level.
"""

from __future__ import annotations

from ..errors import ProtocolError
from .log import Log
from .messages import PART, Entry, SnapshotPart, frame, snapshot_frames
from .state import State


class Replica:
    """A state and its log, and the snapshot that may be on its way in."""

    def __init__(self, state: State, log: Log, part: int = PART) -> None:
        self.state = state
        self.part = part  # bytes of a snapshot in one frame
        self.log = log
        self._parts: list[bytes] = []

    @property
    def pair(self) -> tuple[int, int]:
        """What this copy can vouch for: (0, 0) when it holds nothing, or is torn."""
        if self.state.torn:
            return (0, 0)
        return (self.state.epoch, self.state.version)

    def accept_torn(self) -> None:
        """There is no better copy than this one, although a change to it was interrupted."""
        self.state.torn = False
        self.log.reset(self.state.epoch, self.state.version)

    def apply(self, entry: Entry, size: int) -> None:
        """Take the next entry in, of `size` bytes on the wire."""
        self.state.apply(entry)
        self.log.append(entry, size)

    def take_part(self, part: SnapshotPart) -> bool:
        """Collect a part of a snapshot; at the last one it is installed. True when it was."""
        self._parts.append(part.data)
        if not part.last:
            return False
        data = b"".join(self._parts)
        self._parts = []
        self.state.restore(data)
        self.log.reset(self.state.epoch, self.state.version)
        return True

    def drop_parts(self) -> None:
        """The connection is gone: what came of a snapshot is void."""
        self._parts = []

    def level(self, epoch: int, version: int) -> tuple[bool, list[bytes]]:
        """What brings a peer at the given pair level with us.

        Returns whether it is a snapshot, and the frames.
        """
        entries = self.log.since(epoch, version) if epoch else None
        if entries is None:
            return True, snapshot_frames(self.state.encode(), self.part)
        return False, [frame(entry) for entry in entries]

    def check_level(self, epoch: int, version: int) -> None:
        """Raise `ProtocolError` unless this copy is at the given pair."""
        if (self.state.epoch, self.state.version) != (epoch, version):
            raise ProtocolError(
                f"brought level to ({self.state.epoch}, {self.state.version}) "
                f"where ({epoch}, {version}) was announced"
            )
