"""Who has what, before a new host opens.

A candidate knows from the folder which peers live. Each of them reports the last pair ``(epoch,
version)`` it holds, after it fenced its old link, so nothing can be added to it later. The best
pair is the greatest: an acknowledged write is at its writer or at another peer, within the pair of
at least one of them. RecoveryReports is complete when every living peer has reported or has died;
the candidate may open earlier only when the wait is over, and never with an object of its own
making while somebody that holds the object is silent.

Pairs are compared within one network only (see `state`). Of several the one founded first counts,
and who is of another counts as holding nothing.
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

    @property
    def cluster_ids(self) -> set[str]:
        """Those of which there are objects."""
        return {cluster_id for cluster_id, _ in self._held.values() if cluster_id}

    def report(self, peer: str, pair: Pair, cluster_id: str = "") -> None:
        """A peer tells what it holds, and of which network; "" where that is nothing."""
        self._held[peer] = cluster_id, pair
        self._unreported.discard(peer)

    def lost(self, peer: str) -> None:
        """A peer has died, or its link has broken: it counts no more unless it reports again."""
        self._held.pop(peer, None)
        self._unreported.discard(peer)

    def expect(self, peer: str) -> None:
        """A peer lives that has not reported, or whose link has broken: it is waited for."""
        self._held.pop(peer, None)
        self._unreported.add(peer)

    def best(self) -> tuple[str, Pair]:
        """The peer with the greatest pair; the candidate itself when nobody holds more."""
        first = min((cluster_id for cluster_id, _ in self._held.values() if cluster_id), default="")
        pairs = {
            peer: pair for peer, (cluster_id, pair) in self._held.items() if cluster_id == first
        }
        own = pairs.get(self._candidate, (0, 0))
        peer, pair = max(pairs.items(), key=lambda item: item[1])
        return (peer, pair) if pair > own else (self._candidate, own)

    def advanced(self, pair: Pair, cluster_id: str = "") -> None:
        """The candidate was brought level to a pair."""
        self._held[self._candidate] = cluster_id, pair
