"""What the surviving peers hold, before a new host opens.

A candidate knows from the folder which peers live. Each reports the last pair ``(epoch, version)``
that it holds, after it has fenced its old link, so the pair cannot grow later. The greatest pair is
the best: every acknowledged write is within the pair of its writer or of another peer. The recovery
is complete when every living peer has reported or died. The candidate may open earlier only after
the timeout, and never with a new object while a peer that holds the object has not reported.

Pairs are compared within one cluster only (see `state`). Of several clusters the one founded first
wins, and peers of the others count as holding nothing.
"""

from __future__ import annotations

Pair = tuple[int, int]


class RecoveryReports:
    """The reports of one recovery; `expected` are the living peers besides the candidate."""

    def __init__(
        self, candidate: str, pair: Pair, expected: set[str], cluster_id: str = ""
    ) -> None:
        self._candidate = candidate
        self._held: dict[str, tuple[str, Pair]] = {candidate: (cluster_id, pair)}
        self._unreported = set(expected)

    @property
    def unreported(self) -> set[str]:
        """The living peers that have not reported."""
        return set(self._unreported)

    def report(self, peer: str, pair: Pair, cluster_id: str = "") -> None:
        """A peer reports its pair and its cluster; "" if it holds nothing."""
        self._held[peer] = cluster_id, pair
        self._unreported.discard(peer)

    def lost(self, peer: str) -> None:
        """Ignore a peer that has died or whose link broke, unless it reports again."""
        self._held.pop(peer, None)
        self._unreported.discard(peer)

    def expect(self, peer: str) -> None:
        """Wait for a living peer that has not reported, or whose link broke."""
        self._held.pop(peer, None)
        self._unreported.add(peer)

    def best(self) -> tuple[str, Pair]:
        """The peer with the greatest pair; the candidate itself when no peer holds more."""
        first = min((cluster_id for cluster_id, _ in self._held.values() if cluster_id), default="")
        pairs = {
            peer: pair for peer, (cluster_id, pair) in self._held.items() if cluster_id == first
        }
        own = pairs.get(self._candidate, (0, 0))
        peer, pair = max(pairs.items(), key=lambda item: item[1])
        return (peer, pair) if pair > own else (self._candidate, own)

    def oldest(self, cluster_id: str) -> int:
        """The lowest version that a peer of a cluster holds; 0 without any."""
        held = (pair for cluster, pair in self._held.values() if cluster == cluster_id)
        return min((version for epoch, version in held if epoch), default=0)

    def advanced(self, pair: Pair, cluster_id: str = "") -> None:
        """The candidate has caught up to a pair."""
        self._held[self._candidate] = cluster_id, pair
