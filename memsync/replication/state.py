"""The replicated state: the document and the system part, changed by entries only.

Every peer, the host included, applies the same entries in the same order with this class, so all
copies are equal at equal versions. A `Kind` defines what its entries mean (see `kinds`), and owns
one part of the state: patches own the document and the conflict index, members the list of members.
The document here is the *confirmed* one. Programs read the view of `replica`, which shows the
peer's pending writes on top, and shares with the confirmed document what is equal.

The state also holds the writers' sessions (exactly once), the founder's options, and the *cluster
id*, which names the founding of the object. Pairs ``(epoch, version)`` of two clusters cannot be
compared. Cluster ids sort by the time of founding; where two clusters meet, the earlier one wins. A
session ends by an entry, so at the same version everywhere, once its peer is certain to be dead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import msgspec

from ..document import Operation, PathWrite, encoded, normalize, replay
from ..errors import ProtocolError
from ..lasting import lasting
from .codec import decode_snapshot, encode_snapshot
from .entries import Entry, History, Propose, Snapshot
from .sessions import WriterSession


@lasting
class TornCopyError(Exception):
    """A change of this copy failed in the middle, so the copy must be replaced by another peer's.

    Other code may have changed the containers of ``mem.data`` (see `document.foreign_writes`), or
    there was no memory. It is no `MemSyncError`, which would refuse a single write.
    """


class Order(NamedTuple):
    """An accepted proposal: the body of its entry, the paths that it writes, and its event.

    See `Entry`.
    """

    body: Any
    written: Sequence[PathWrite] | None = ()
    event: list[Any] | None = None


class Kind:
    """The meaning of one kind of entry; a subclass overrides the methods that it needs.

    Its part of the state is ``state.parts[kind.name]``. Every method is deterministic: the same
    state and the same entry give the same result in every peer.
    """

    name: str
    needs_writer = True
    """Whether only a peer with the role ``writer`` may propose it."""

    def begin(self, data: dict[str, Any], options: Mapping[str, Any]) -> Any:
        """The kind's part of a new object; `options` are the founder's."""
        return None

    def check(self, body: Any, array_filters: Any) -> Any:
        """A detached copy of what a program wants to propose; raises `NotSerializableError`."""
        return normalize(body)

    def order(self, state: State, peer: str, proposal: Propose) -> Order | None:
        """Decide a peer's proposal; None when it changes nothing.

        Raises the `MemSyncError` that refuses it.
        """
        raise ProtocolError(f"a proposal of kind {self.name!r} cannot be ordered")

    def apply(self, state: State, entry: Entry, *, fit: bool) -> None:
        """Change the state; with `fit` the entry was ordered on exactly this state."""

    def forget(self, state: State, peer: str) -> None:
        """Drop what belongs to a peer that has left or is certain to be dead."""

    def left(self, state: State, peer: str, entry: Entry) -> None:
        """A member leaves with this entry; it may still live, and become a member again."""

    def changes(self, entry: Entry) -> list[Operation]:
        """The RFC 6902 operations by which an entry changes the document."""
        return []

    def compile(self, document: dict[str, Any], proposal: Propose, version: int) -> list[Operation]:
        """The operations of a proposal on a document at `version`; raises as `order`."""
        return []

    def reads(self, proposal: Propose) -> Iterable[str]:
        """The places (RFC 6901 pointers) on which the result of `compile` depends."""
        return ()

    def encode(self, state: State) -> Any:
        """The kind's part, for a snapshot."""
        return None

    def decode(self, data: msgspec.Raw, options: Mapping[str, Any]) -> Any:
        """Decode the part; raises `msgspec.MsgspecError` for other data."""
        return None


Kinds = Mapping[str, Kind]


class State:
    """One peer's copy of the object and of the system part, at ``(epoch, version)``.

    It belongs to the thread that plays the peer's role, and that thread holds `guard` while it
    changes the state or reads the document: other threads read the system part, and a write that
    they show replaces containers of the document by equal ones. `torn` is True while a change is
    under way; if it stays True, the change was interrupted and the copy must be replaced.
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
        # Grows with each change that peers announce beside patches, and with each snapshot.
        self.notices = 0
        self.snapshots = 0  # that this copy has become
        self.tears = 0  # how often this copy was torn
        # How an entry changes the document: the replica also shows it, if it can.
        self.replay: Replay = _replay_only

    @property
    def pair(self) -> tuple[int, int]:
        """``(epoch, version)``, which never goes back within a cluster."""
        return self.epoch, self.version

    @property
    def document(self) -> dict[str, Any]:
        """The confirmed document."""
        document: dict[str, Any] = self.parts["patch"].document
        return document

    @document.setter
    def document(self, document: dict[str, Any]) -> None:
        """Put an equal one in its place."""
        self.parts["patch"].document = document

    @property
    def members(self) -> dict[str, dict[str, Any]]:
        """The members of the group, by peer id (see `membership`)."""
        members: dict[str, dict[str, Any]] = self.parts["member"]
        return members

    @property
    def host(self) -> str | None:
        """The host of the current epoch."""
        host: str | None = self.parts["epoch"].host
        return host

    @property
    def epochs(self) -> list[tuple[int, int]]:
        """The last epochs, each with the version of its first entry."""
        epochs: list[tuple[int, int]] = self.parts["epoch"].epochs
        return epochs

    def bootstrap(
        self,
        data: dict[str, Any],
        options: dict[str, Any],
        cluster_id: str = "",
        pair: tuple[int, int] = (0, 0),
    ) -> None:
        """Become the state of a new object at a pair, before its first entry.

        An object that was saved goes on from its pair.
        """
        self.cluster_id = cluster_id
        self.epoch, self.version = pair
        self.options = options
        self.parts = _new_parts(self.kinds, data, options)

    def adopt(self, data: dict[str, Any], pair: tuple[int, int]) -> None:
        """Become a later version of the same object, of which only the document is known."""
        part = self.kinds["patch"].begin(data, self.options)
        with self.guard:
            self.torn = True
            self.parts["patch"] = part
            self.epoch, self.version = pair
            self.notices += 1
            self.snapshots += 1
            self.torn = False

    def apply(self, entry: Entry, *, fit: bool = False) -> None:
        """Advance by one version; with `fit` the entry was ordered on exactly this state.

        The guard is held. Raises `ProtocolError` when the entry is not the next one, is of a lower
        epoch, or is of a kind that this version of memsync does not know, and `TornCopyError` when
        its change fails.
        """
        if self.torn:
            raise TornCopyError("an earlier change failed")
        version = entry.version
        if version != self.version + 1 or entry.epoch < self.epoch:
            raise ProtocolError(
                f"entry ({entry.epoch}, {entry.version}) does not follow "
                f"({self.epoch}, {self.version})"
            )
        kind = self.kinds.get(entry.kind) or self.kind(entry.kind)
        self.torn = True
        try:
            kind.apply(self, entry, fit=fit)
            if entry.number:
                session = self.sessions.get(entry.peer)
                if session is None:
                    session = self.sessions[entry.peer] = WriterSession()
                session.record(entry)
        except Exception as error:
            raise TornCopyError(f"version {version} cannot be applied") from error
        self.epoch = entry.epoch
        self.version = version
        self.torn = False

    def tear(self) -> None:
        """A thread was interrupted, perhaps in the middle of a change."""
        self.torn = True
        self.tears += 1

    def kind(self, name: str) -> Kind:
        """The kind with this name; raises `ProtocolError` for an unknown one."""
        kind = self.kinds.get(name)
        if kind is None:
            raise ProtocolError(f"this peer knows no kind of entry named {name!r:.60}")
        return kind

    def patches_of(self, entries: Iterable[Entry]) -> list[dict[str, Any]]:
        """The entries that change the document, as callbacks and errors describe them."""
        return [
            {"version": e.version, "epoch": e.epoch, "peer": e.peer, "patch": operations}
            for e in entries
            if (operations := self.kinds[e.kind].changes(e))
        ]

    def forget(self, peer: str) -> None:
        """End the session of a peer that has left or is dead; all kinds forget it."""
        self.sessions.pop(peer, None)
        for kind in self.kinds.values():
            kind.forget(self, peer)

    def common(self, epoch: int, version: int) -> int:
        """The last version of this copy's history that a peer at the given pair has seen.

        Entries of an earlier epoch beyond the end of that epoch were lost with its host.
        """
        for later, first in self.epochs:
            if later > epoch:
                return min(version, first - 1)
        return version

    def encode(self, history: History | None = None) -> bytearray:
        """The whole state as a snapshot, with the entries that lead to it.

        Raises `TornCopyError` if other code has changed the state.
        """
        with self.guard:
            try:
                parts = {
                    name: msgspec.Raw(encoded(kind.encode(self)))
                    for name, kind in self.kinds.items()
                }
            except Exception as error:
                self.torn = True
                raise TornCopyError("it cannot be encoded") from error
        sessions = {
            peer: (session.last, list(session.outcomes.items()))
            for peer, session in self.sessions.items()
        }
        epoch, version = self.pair
        return encode_snapshot(
            Snapshot(epoch, version, self.cluster_id, self.options, sessions, parts, history)
        )

    def restore(self, data: bytes | bytearray) -> History | None:
        """Become the state of a snapshot; returns the entries that lead to it, if it has some.

        Raises `ProtocolError`, and changes nothing, when the data is no snapshot or when a snapshot
        of this cluster is older than this copy.
        """
        snapshot = decode_snapshot(data)
        pair = (snapshot.epoch, snapshot.version)
        if not self.torn and snapshot.cluster_id == self.cluster_id and pair < self.pair:
            raise ProtocolError(f"the snapshot of {pair} is older than this copy, {self.pair}")
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
            self.notices += 1
            self.snapshots += 1
            self.torn = False
        return snapshot.history

    def _decoded_parts(self, snapshot: Snapshot) -> dict[str, Any]:
        if snapshot.parts.keys() != self.kinds.keys():
            raise ProtocolError(
                f"the snapshot has the kinds {sorted(snapshot.parts)}, this peer has "
                f"{sorted(self.kinds)}: use one version of memsync in all processes"
            )
        try:
            return {
                name: kind.decode(snapshot.parts[name], snapshot.options)
                for name, kind in self.kinds.items()
            }
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolError(f"the received data is no snapshot: {error}") from error


Replay = Callable[[dict[str, Any], Entry, list[Operation], bool], dict[str, Any]]


def _replay_only(
    document: dict[str, Any], entry: Entry, operations: list[Operation], fit: bool
) -> dict[str, Any]:
    replay(document, operations, fit=fit)
    return document


def _new_parts(kinds: Kinds, data: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: kind.begin(data, options) for name, kind in kinds.items()}
