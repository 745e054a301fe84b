"""The replicated state: the document and the system part, changed by entries only.

Every peer applies the same entries in the same order with this one class, the host included, so
all copies are equal at equal versions. What an entry of some kind means is defined by its `Kind`
(see `kinds`), and each kind owns one part of the state: patches own the document and the conflict
index, members the list of members, and so on. The document here is the *confirmed* one, plain and
private: what programs read is `replica`'s, which shows a peer's pending writes on top.

Beside the parts, the state holds the writers' sessions (exactly once), the founder's options, and
the id of the *network*: of the founding from which all copies of the object come. Pairs
``(epoch, version)`` of two networks have nothing to do with each other. Ids sort by the time of
founding; where two networks meet, the earlier one wins. A session ends when its peer is dead for
certain, by an entry, so at the same version everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import msgspec

from ..document import Operation, PathWrite
from ..errors import ProtocolError
from .codec import decode_snapshot, encode_snapshot, encode_value
from .entries import Entry, Propose, Snapshot
from .sessions import WriterSession


class Order(NamedTuple):
    """What an accepted proposal becomes: the body of its entry, and the paths that it names."""

    body: Any
    written: Sequence[PathWrite] = ()


class Kind:
    """What the entries of one kind mean; a kind overrides what differs from these defaults.

    Its part of the state is ``state.parts[kind.name]``. Every function is deterministic: the same
    state and the same entry give the same result in every peer.
    """

    name: str

    def begin(self, data: dict[str, Any], options: Mapping[str, Any]) -> Any:
        """The kind's part of a new object, founded with `data` and the founder's `options`."""
        return None

    def order(self, state: State, peer: str, proposal: Propose) -> Order | None:
        """What a proposal of a peer becomes; None when it changes nothing.

        Raises the `MemSyncError` with which the proposal is refused.
        """
        raise ProtocolError(f"a proposal of kind {self.name!r} cannot be ordered")

    def apply(self, state: State, entry: Entry, *, fit: bool) -> None:
        """Change the state; with `fit` the entry was ordered on this very state."""

    def forget(self, state: State, peer: str) -> None:
        """A peer is dead for certain, or has left: drop what only it could have used."""

    def changes(self, entry: Entry) -> list[Operation]:
        """The RFC 6902 operations by which an entry changes the document."""
        return []

    def compile(self, document: dict[str, Any], proposal: Propose, version: int) -> list[Operation]:
        """The operations that a proposal means for a document at `version`; raises as `order`."""
        return []

    def reads(self, proposal: Propose) -> Iterable[str]:
        """The places (RFC 6901 pointers) on which the result of `compile` depends."""
        return ()

    def encode(self, state: State) -> Any:
        """The kind's part, for a snapshot."""
        return None

    def decode(self, data: msgspec.Raw, options: Mapping[str, Any]) -> Any:
        """The part that `encode` gave; raises `msgspec.MsgspecError` when it is none."""
        return None


Kinds = Mapping[str, Kind]


class State:
    """One peer's copy of the object and of the system part, at ``(epoch, version)``.

    It belongs to the thread that plays the peer's role; `guard` is held while the system part
    changes, which others read. `torn` is True while a change is under way: found True later, the
    change was interrupted and the copy must be replaced.
    """

    def __init__(self, guard: AbstractContextManager[Any], kinds: Kinds) -> None:
        self.guard = guard
        self.kinds = kinds
        self.epoch = 0
        self.version = 0
        self.cluster_id = ""
        self.options: dict[str, Any] = {}
        self.sessions: dict[str, WriterSession] = {}
        self.parts: dict[str, Any] = _new_parts(kinds, {}, {})
        self.torn = False

    @property
    def pair(self) -> tuple[int, int]:
        """``(epoch, version)``, which never goes back within a network."""
        return self.epoch, self.version

    @property
    def document(self) -> dict[str, Any]:
        """The confirmed document."""
        document: dict[str, Any] = self.parts["patch"].document
        return document

    @property
    def members(self) -> dict[str, dict[str, Any]]:
        """The members of the group, by peer id (see `membership`)."""
        members: dict[str, dict[str, Any]] = self.parts["member"]
        return members

    @property
    def host(self) -> str | None:
        """The host of the epoch in which this copy is."""
        host: str | None = self.parts["epoch"].host
        return host

    @property
    def epochs(self) -> list[tuple[int, int]]:
        """The last epochs, each with the version of its first entry."""
        epochs: list[tuple[int, int]] = self.parts["epoch"].epochs
        return epochs

    def bootstrap(
        self, data: dict[str, Any], options: dict[str, Any], cluster_id: str = ""
    ) -> None:
        """Become the state of a new object: version 0, before its first entry."""
        self.cluster_id = cluster_id
        self.options = options
        self.parts = _new_parts(self.kinds, data, options)

    def apply(self, entry: Entry, *, fit: bool = False) -> None:
        """Go one version on; with `fit` the entry was ordered on this very state.

        Raises `ProtocolError` when the entry is not the next one, of a lower epoch, or of a kind
        that this version of memsync does not know.
        """
        if entry.version != self.version + 1 or entry.epoch < self.epoch:
            raise ProtocolError(
                f"entry ({entry.epoch}, {entry.version}) does not follow "
                f"({self.epoch}, {self.version})"
            )
        kind = self.kind(entry.kind)
        with self.guard:
            self.torn = True
            kind.apply(self, entry, fit=fit)
            if entry.number:
                session = self.sessions.get(entry.peer)
                if session is None:
                    session = self.sessions[entry.peer] = WriterSession()
                session.record(entry)
            self.epoch = entry.epoch
            self.version = entry.version
            self.torn = False

    def kind(self, name: str) -> Kind:
        """The kind of an entry or a proposal; raises `ProtocolError` for one that is unknown."""
        kind = self.kinds.get(name)
        if kind is None:
            raise ProtocolError(f"{name!r:.60} is no kind of entry that this peer knows")
        return kind

    def forget(self, peer: str) -> None:
        """A peer is dead for certain, or has left: its session ends, and all kinds forget it."""
        self.sessions.pop(peer, None)
        for kind in self.kinds.values():
            kind.forget(self, peer)

    def common(self, epoch: int, version: int) -> int:
        """Up to which version a peer at the given pair has seen the history of this copy.

        What a peer of an earlier epoch has beyond the end of that epoch was lost with its host.
        """
        for reign, first in self.epochs:
            if reign > epoch:
                return min(version, first - 1)
        return version

    def encode(self) -> bytes:
        """The whole state as a snapshot."""
        return encode_snapshot(
            Snapshot(
                self.epoch,
                self.version,
                self.cluster_id,
                self.options,
                {
                    peer: (row.last, list(row.outcomes.items()))
                    for peer, row in self.sessions.items()
                },
                {
                    name: msgspec.Raw(encode_value(kind.encode(self)))
                    for name, kind in self.kinds.items()
                },
            )
        )

    def restore(self, data: bytes) -> None:
        """Become the state of a snapshot.

        Raises `ProtocolError` when the snapshot is none, or is of this network and would go back;
        nothing changes then.
        """
        snapshot = decode_snapshot(data)
        pair = (snapshot.epoch, snapshot.version)
        if not self.torn and snapshot.cluster_id == self.cluster_id and pair < self.pair:
            raise ProtocolError(f"a snapshot of {pair} would go back behind {self.pair}")
        parts = self._decoded_parts(snapshot)
        with self.guard:
            self.torn = True
            self.parts = parts
            self.cluster_id, self.options = snapshot.cluster_id, snapshot.options
            self.sessions = {
                peer: WriterSession(last, dict(outcomes))
                for peer, (last, outcomes) in snapshot.sessions.items()
            }
            self.epoch, self.version = pair
            self.torn = False

    def _decoded_parts(self, snapshot: Snapshot) -> dict[str, Any]:
        if snapshot.parts.keys() != self.kinds.keys():
            raise ProtocolError(
                f"a snapshot has the kinds {sorted(snapshot.parts)}, this peer has "
                f"{sorted(self.kinds)}: use one version of memsync"
            )
        try:
            return {
                name: kind.decode(snapshot.parts[name], snapshot.options)
                for name, kind in self.kinds.items()
            }
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolError(f"what was received is no snapshot: {error}") from error


def _new_parts(kinds: Kinds, data: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: kind.begin(data, options) for name, kind in kinds.items()}
