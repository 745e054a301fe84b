"""Entries of kind ``patch``: the RFC 6902 operations to which an update compiles.

The part of the state is the document, and the index of recent writes for the conflict rule (see
`conflicts`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import msgspec

from ...document import (
    Operation,
    PathWrite,
    check_first_untouched,
    check_patch,
    check_update,
    compile_read_set,
    encoded,
    exists_at_pointer,
    is_guarded,
    may_move,
    moved_elements,
    refine_write_set,
    tags_of,
    tells_write_set,
    to_plain,
    write_set,
)
from ...errors import ConflictError, ReadOnlyError, UpdateError
from ..compile_proposal import bug, compile_proposal
from ..conflicts import ConflictIndex
from ..entries import Entry, Propose
from ..group_options import group_value
from ..moved_indexes import check_indexes
from ..state import Kind, Order, State
from .event import checked_event, count_event
from .lock import check_proof


class PatchPart:
    """The document and its conflict index."""

    __slots__ = ("document", "index", "rule")

    def __init__(
        self, document: dict[str, Any], index: ConflictIndex, options: Mapping[str, Any]
    ) -> None:
        self.document = document
        self.index = index
        self.rule = group_value(options, "conflict")


class _Encoded(msgspec.Struct):
    document: dict[str, Any]
    index: msgspec.Raw  # see `ConflictIndex.encode`


_decoder = msgspec.msgpack.Decoder(_Encoded)


class PatchKind(Kind):
    """A change of the document."""

    name = "patch"

    def begin(self, data: dict[str, Any], options: Mapping[str, Any]) -> PatchPart:
        """The founder's data; no peer counts as its writer."""
        index = ConflictIndex(group_value(options, "network.max_index"))
        return PatchPart(to_plain(data), index, options)

    def check(self, body: Any, array_filters: Any) -> Any:
        """A detached copy of an update or of RFC 6902 operations; raises `UpdateError`."""
        if array_filters is not None and not isinstance(array_filters, list):
            raise UpdateError(
                f"array_filters must be a list of filters, not {array_filters!r:.60}",
                kind="array_filters",
            )
        if isinstance(body, dict):
            return check_update(body, array_filters or [])
        if array_filters is not None:
            raise UpdateError(
                "array_filters need update operators: RFC 6902 operations have none",
                kind="array_filters",
            )
        if isinstance(body, list) or hasattr(body, "patch"):
            return check_patch(body)
        raise UpdateError(
            f"{body!r:.60} is not an update: give operators like {{'$set': {{...}}}}, a list of "
            "RFC 6902 operations, or a jsonpatch.JsonPatch",
            kind="bad_operand",
        )

    def order(self, state: State, peer: str, proposal: Propose) -> Order | None:
        """Apply the conflict rule and compile the update.

        Raises `ReadOnlyError`, `LockLostError`, `ConflictError` and what `compile_proposal` raises.
        """
        member = state.members.get(peer)
        if member is None or "writer" not in member.get("roles", ()):
            raise ReadOnlyError(f"peer {peer} does not have the role 'writer'")
        if proposal.lock is not None:
            check_proof(state, peer, proposal.lock)
        part: PatchPart = state.parts[self.name]
        named = None
        is_list = isinstance(proposal.body, list)
        is_newest = proposal.version == state.version and proposal.epoch == state.epoch
        if is_list or not is_newest:
            named = _named(state, proposal)
            if is_list:
                check_indexes(state, part.index, peer, proposal)
            if not is_newest:
                _check_conflict(state, peer, proposal, named)
        operations = compile_proposal(state.document, proposal, state.version)
        event = None if proposal.event is None else checked_event(proposal.event)
        if not operations:
            return None if event is None else Order([], (), event)
        if len(operations) > 1 and tells_write_set(operations):
            return Order(operations, None, event)
        if named is None:
            named = _named(state, proposal)
        written = refine_write_set(named, operations)
        if may_move(named):
            written = written + moved_elements(state.document, proposal.body, named, operations)
        return Order(operations, written, event)

    def apply(self, state: State, entry: Entry, *, fit: bool) -> None:
        """Replay the operations, and note the written paths."""
        part: PatchPart = state.parts[self.name]
        part.document = state.replay(part.document, entry, entry.body, fit)
        if entry.written is None:
            pointers = [operation["path"] for operation in entry.body]
            tags = tags_of([operation["value"] for operation in entry.body])
            part.index.note_sets(entry.version, entry.timestamp, entry.peer, pointers, tags)
        else:
            part.index.note(entry.version, entry.timestamp, entry.peer, entry.written)
        if entry.event is not None:
            count_event(state, entry)

    def changes(self, entry: Entry) -> list[Operation]:
        """The body of the entry."""
        operations: list[Operation] = entry.body
        return operations

    def compile(self, document: dict[str, Any], proposal: Propose, version: int) -> list[Operation]:
        """See `compile_proposal`."""
        return compile_proposal(document, proposal, version)

    def reads(self, proposal: Propose) -> Iterable[str]:
        """The places that the update and its condition read."""
        return compile_read_set(proposal.body, proposal.where)

    def encode(self, state: State) -> _Encoded:
        """Document and index."""
        part: PatchPart = state.parts[self.name]
        check_first_untouched(part.document)
        return _Encoded(part.document, msgspec.Raw(encoded(part.index.encode())))

    def decode(self, data: msgspec.Raw, options: Mapping[str, Any]) -> PatchPart:
        """The part of a snapshot."""
        part = _decoder.decode(data)
        index = ConflictIndex.decode(group_value(options, "network.max_index"), part.index)
        return PatchPart(part.document, index, options)


def _named(state: State, proposal: Propose) -> list[PathWrite]:
    try:
        return write_set(proposal.body)
    except Exception as error:  # not an update: the compiler says why
        compile_proposal(state.document, proposal, state.version)
        raise bug(error) from error


def _check_conflict(state: State, peer: str, proposal: Propose, named: list[PathWrite]) -> None:
    """Raise `ConflictError` when a proposal loses against an entry that it had not seen.

    A proposal with a condition (`where`, ``test``, a lock) is exempt: the condition decides. With
    the rule ``last`` the order decides.
    """
    part: PatchPart = state.parts["patch"]
    if part.rule == "last":
        return
    if proposal.where is not None or proposal.lock is not None or is_guarded(proposal.body):
        return
    base = state.common(proposal.epoch, proposal.version)
    if base >= state.version:
        return
    is_strict = part.rule == "strict"
    path = part.index.find(
        base,
        proposal.timestamp,
        peer,
        named,
        strict=is_strict,
        exists=partial(exists_at_pointer, part.document),
    )
    if path is not None:
        later = "" if is_strict else ", with a later timestamp"
        raise ConflictError(
            f"another peer has written {path!r} after version {base}, on which this update was "
            f"made{later}: read the new value and repeat the update if it still applies; "
            "use 'where' or edit() to decide by values instead",
            path=path,
            version=state.version,
        )
