"""What a peer finds out about its own writes."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple

from ..document import Operation, encoded, value_at_pointer
from ..errors import ConflictError, MemSyncError, from_wire
from .entries import Decision, Propose
from .log import Log
from .pending import W
from .state import State

_SCALARS = frozenset({type(None), bool, int, float, str})
# In a `ConflictError`; the newest ones. Decoded, the bytes take ten to twenty times as much.
_MAX_PATCHES = 1000
_MAX_PATCH_BYTES = 1 << 20


class Outcome(NamedTuple, Generic[W]):
    """The outcome of an own write; `rolled_back`: the view showed it, and does not any more."""

    write: W
    version: int
    error: MemSyncError | None
    rolled_back: bool
    made_entry: bool = True


class Published(NamedTuple, Generic[W]):
    """What `Replica.publish` found out about own writes."""

    outcomes: list[Outcome[W]]
    forgotten: int  # acknowledged writes that no host has and this peer no longer remembers
    replaced: int  # acknowledged writes of a cluster that gave way to an earlier one


class News(Generic[W]):
    """What was published and not acknowledged by `advance` yet."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome[W]] = []
        self.forgotten = 0
        self.replaced = 0
        self._nothing: Published[W] = Published([], 0, 0)

    def add(self, outcome: Outcome[W]) -> None:
        """Note an outcome; twice in a row it is the same one, found again after an interrupt."""
        outcomes = self.outcomes
        if not outcomes or outcomes[-1].write is not outcome.write:
            outcomes.append(outcome)

    def published(self) -> Published[W]:
        """All of it."""
        if not self.outcomes and not self.forgotten and not self.replaced:
            return self._nothing
        return Published(list(self.outcomes), self.forgotten, self.replaced)

    def advance(self, published: Published[W]) -> None:
        """Drop what the caller has handled."""
        if published is self._nothing:
            return
        del self.outcomes[: len(published.outcomes)]
        self.forgotten -= published.forgotten
        self.replaced -= published.replaced


def outcome_of(write: W, decision: Decision, state: State, log: Log) -> Outcome[W]:
    """The outcome of a pending write that made no entry that this peer has seen."""
    wire = decision.error
    refusal = complete_refusal(wire, write.proposal, state, log) if wire else None
    was_rolled_back = write.was_shown and refusal is not None
    return Outcome(write, decision.version, refusal, was_rolled_back, decision.made_entry)


def complete_refusal(wire: list[Any], proposal: Propose, state: State, log: Log) -> MemSyncError:
    """The error, with the facts that the host leaves out because this copy has them."""
    error = from_wire(wire)
    if isinstance(error, ConflictError):
        if error.path is not None and error.value is None:
            error.value = value_at_pointer(state.document, error.path)
        base = state.common(proposal.epoch, proposal.version)
        error.patches = state.patches_of(log.newest(base, _MAX_PATCHES, _MAX_PATCH_BYTES))
    return error


def same_operations(ours: list[Operation], theirs: list[Operation]) -> bool:
    """Whether two patches do the same to the same document."""
    if len(ours) == len(theirs) == 1 and type(value := ours[0].get("value")) in _SCALARS:
        # Values of different types can be equal: 1, 1.0 and True.
        return ours == theirs and type(value) is type(theirs[0].get("value"))
    # The encodings of 1, 1.0 and True differ, and so do those of two orders of keys.
    return len(ours) == len(theirs) and encoded(ours) == encoded(theirs)


def shares_path(ours: list[Operation], theirs: list[Operation]) -> bool:
    """Whether two patches name one place; looks at the first operations only."""
    return bool(ours and theirs) and ours[0]["path"] == theirs[0]["path"]
