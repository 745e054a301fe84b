"""Catching up: the frames that bring a peer from its pair to that of a copy.

A copy reaches a given pair ``(epoch, version)`` by entries if the sender's log holds the copy's
pair, and by a snapshot in chunks otherwise.
"""

from __future__ import annotations

from .codec import snapshot_frames
from .entries import SnapshotChunk
from .log import Log
from .state import State


class Chunks:
    """The chunks of a snapshot that is arriving."""

    def __init__(self) -> None:
        self._data: list[bytes] = []

    def add(self, chunk: SnapshotChunk) -> bytes | None:
        """Add the next chunk; returns the snapshot with the last one."""
        self._data.append(chunk.data)
        if not chunk.last:
            return None
        data = b"".join(self._data)
        self._data = []
        return data

    def drop(self) -> None:
        """Forget an incomplete snapshot."""
        self._data = []


class CatchUp:
    """The snapshot that was encoded last.

    One encoded snapshot, followed by the entries since, serves all peers that need one at about the
    same time.
    """

    def __init__(self) -> None:
        # The pair of the state, the version from which its history leads there, and the chunks.
        self._encoded: tuple[tuple[int, int], int, list[bytes]] | None = None

    def frames(
        self,
        state: State,
        log: Log,
        pair: tuple[int, int],
        has_at_most: int,
        oldest: int | None,
        chunk_bytes: int,
    ) -> tuple[bool, list[bytes]]:
        """The frames that bring a peer from a pair to the state's; the flag says "a snapshot".

        The snapshot must not be older than the peer's pair, nor than `has_at_most`, a version that
        the peer may have although its pair is (0, 0). A frame takes `chunk_bytes` of it.

        The snapshot brings the entries above the version `oldest`, which other peers may lack: if
        the peer that gets it is the next host, it sends them.
        """
        oldest = state.version if oldest is None else max(oldest, log.base_version)
        entries = log.since(*pair) if pair[0] else None
        if entries is not None:
            return False, entries
        if self._encoded is not None:
            known, leads_from, chunks = self._encoded
            entries = log.since(*known)
            # With more entries than that, a new encoding is shorter.
            is_shorter = log.size_since(known[1]) <= sum(map(len, chunks))
            is_new = known[1] >= has_at_most and known >= pair
            if entries is not None and is_shorter and is_new and leads_from <= oldest:
                return True, [*chunks, *entries]
        chunks = snapshot_frames(state.encode(log.history(oldest)), chunk_bytes)
        self._encoded = (state.pair, oldest, chunks)
        return True, chunks

    def forget(self) -> None:
        """Free the memory of the encoded snapshot."""
        self._encoded = None
