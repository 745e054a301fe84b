"""What an open draft knows of an entry as soon as the view shows it, before it is published."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from memsync.clocks import wall_ms
from memsync.document import Draft
from memsync.errors import ConflictError
from memsync.options import load_options
from memsync.replication.codec import HEADER
from memsync.replication.entries import SnapshotChunk
from memsync.replication.sequencer import Ordered, Sequencer
from memsync.runtime.moved_watch import MovedWatch
from memsync.runtime.participant import Participant
from tests.replication.builders import proposal, reign

BASE: dict[str, Any] = {"a": {"l": [5]}, "rows": [{"n": 1}, {"n": 2}], "out": None}


class Peer:
    """A peer with an open draft, in a group in which another one writes."""

    def __init__(self) -> None:
        self.host: Sequencer = reign(BASE, "other")
        options = load_options({}, environ={})
        self.participant = Participant("me", "o", {}, options, lambda *event: None, wall_ms)
        self.participant.install(SnapshotChunk(bytes(self.host.state.encode()), True))
        self.participant.publish([])
        self.view = self.participant.replica.view
        self.watch: MovedWatch = self.participant.view_waiters.watch(self.view)
        self.draft = Draft(self.view, self.watch.places)

    def apply(self, update: Any) -> None:
        """The entry of a write of the other peer arrives."""
        ordered = self.host.propose("other", proposal(1, update))
        assert isinstance(ordered, Ordered)
        self.participant.apply(ordered.entry, ordered.frame[HEADER:])


def test_what_c_code_has_read_is_refused() -> None:
    peer = Peer()
    peer.draft.root["out"] = msgspec.json.encode(peer.draft.root["a"]).decode()
    peer.apply({"$set": {"a.l.0": 8}})
    assert peer.view["a"]["l"] == [8]
    with pytest.raises(ConflictError):
        peer.draft.patch()


def test_an_element_that_has_moved_is_refused() -> None:
    peer = Peer()
    peer.draft.root["rows"][1]["n"] = 3
    operations = peer.draft.patch()
    peer.apply([{"op": "remove", "path": "/rows/0"}])
    with pytest.raises(ConflictError, match="has changed while the draft was open"):
        peer.watch.check(peer.view, operations)
