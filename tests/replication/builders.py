"""Parts of a group without processes: states, sequencers and proposals to put tests together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from memsync.document.footprint import write_set
from memsync.document.live import run
from memsync.document.update import plain
from memsync.manager.transport.messages import Hello
from memsync.replication import conflicts
from memsync.replication.clock import HybridClock
from memsync.replication.codec import HEADER, decode, frame
from memsync.replication.entries import Entry, Propose, SnapshotChunk
from memsync.replication.kinds import KINDS
from memsync.replication.log import Log
from memsync.replication.pending import PendingWrite, PendingWrites
from memsync.replication.replica import Replica
from memsync.replication.sequencer import Ordered, Sequencer
from memsync.replication.state import State

HOST = "h0"
BIG = 1 << 20


def new_state(data: dict[str, Any] | None = None) -> State:
    """A founded state; nobody else looks at it, so its guard guards nothing."""
    state = State(contextlib.nullcontext(), KINDS)
    state.bootstrap(data or {}, {})
    return state


def new_replica(peer: str = "me", **limits: int) -> Replica[PendingWrite]:
    """A copy that holds nothing yet."""
    log = Log(0, 0, **({"max_entries": 1000, "max_bytes": BIG} | limits))
    state = State(contextlib.nullcontext(), KINDS)
    return Replica(peer, state, log, PendingWrites(keep=1000), contextlib.nullcontext())


def replica_of(sequencer: Sequencer) -> Replica[PendingWrite]:
    """The host's own copy; it shares state and log with the sequencer."""
    state, log, guard = sequencer.state, sequencer.log, sequencer.state.guard
    replica = Replica[PendingWrite](HOST, state, log, PendingWrites(keep=1000), guard)
    replica.must_rebuild = True  # what the state holds is not in the view
    return replica


def hello(peer: str, roles: tuple[str, ...] = ("writer",)) -> Hello:
    """The greeting of a peer."""
    return Hello(1, "obj", peer, 7, list(roles), 0, 0, 1)


def reign(
    data: dict[str, Any] | None = None,
    *peers: str,
    epoch: int = 1,
    state: State | None = None,
    max_frame: int = BIG,
    options: dict[str, Any] | None = None,
) -> Sequencer:
    """An opened sequencer with members that are attached."""
    state = state or new_state(data)
    state.options = options or state.options
    log = Log(state.epoch, state.version, max_entries=1000, max_bytes=BIG)
    sequencer = Sequencer(state, log, HybridClock(), host=HOST, epoch=epoch, max_frame=max_frame)
    sequencer.append_system("epoch", {"host": HOST, "pid": 1, "address": "/x"})
    for peer in peers:
        if peer not in state.members:
            sequencer.append_system("member", {"join": hello(peer).member()})
        sequencer.attach(peer, 1)
    return sequencer


def proposal(number: int, body: Any = None, **changes: Any) -> Propose:
    """A proposal; by default it increments a counter."""
    fields: dict[str, Any] = {
        "number": number,
        "acked_below": 1,
        "timestamp": number << 16,
        "epoch": 1,
        "version": 1,
        "kind": "patch",
        "body": {"$inc": {"n": 1}} if body is None else body,
    }
    return Propose(**(fields | changes))


def chunk_of(encoded: bytes) -> SnapshotChunk:
    """The part of a snapshot in a frame."""
    message = decode(encoded[HEADER:])
    assert isinstance(message, SnapshotChunk), message
    return message


def take(copy: Replica[Any], entry: Entry) -> None:
    """Let a copy apply an entry as it comes on the wire."""
    copy.apply(entry, frame(entry)[HEADER:])


def entry_of(result: object) -> Entry:
    """The entry of an accepted proposal."""
    assert isinstance(result, Ordered), result
    return result.entry


@contextmanager
def few_as_many() -> Iterator[None]:
    """Updates of few paths take the road of those that name a thousand."""
    with ExitStack() as stack:
        for module, name, limit in (
            (plain, "_MAX_CACHED_PATHS", 0),
            (write_set, "_MAX_CACHED_PATHS", 0),
            (run, "SHORTEST", 1),
            (conflicts, "WIDE", 0),
        ):
            stack.enter_context(mock.patch.object(module, name, limit))
        yield
