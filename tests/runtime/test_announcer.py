"""G10: what is announced of entries and snapshots: in order, once, and with an exact count."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from memsync.replication.codec import HEADER, frame
from memsync.replication.entries import Entry, Propose
from memsync.replication.log import Log
from memsync.replication.sequencer import Sequencer
from memsync.replication.state import State
from memsync.runtime import announcer
from memsync.runtime.announcer import Announcer

from ..replication.builders import BIG, entry_of, hello, new_state, proposal, reign


class Peer:
    """A copy that follows a host, and what it announces, in short."""

    def __init__(self) -> None:
        self.state: State = new_state()
        self.log = Log(0, 0, max_entries=100, max_bytes=BIG)
        self.story: list[Any] = []
        self.announcer = Announcer(self.state, self.log, self._announce)

    def _announce(self, name: str, argument: Any) -> None:
        if name == "received_patches":
            patches, _ = argument()
            if patches:
                self.story.append([patch["version"] for patch in patches])
        elif name == "event":
            self.story.append((argument.name, *argument.args))
        else:
            self.story.append((name, argument))

    def apply(self, *entries: Entry) -> list[Entry]:
        """Apply entries without announcing them."""
        for entry in entries:
            self.state.apply(entry)
            self.log.append(entry, frame(entry)[HEADER:])
        return list(entries)

    def take(self, *entries: Entry) -> list[Any]:
        """Apply and announce entries; returns what is new."""
        return self.announce(self.apply(*entries))

    def announce(self, entries: list[Entry]) -> list[Any]:
        self.announcer.entries(entries)
        found, self.story = self.story, []
        return found

    def install(self, host: Sequencer) -> None:
        """Become a host's state without announcing it."""
        self.state.restore(host.state.encode())
        self.log.reset(*self.state.pair)


class Host:
    """A host with two members."""

    def __init__(self, sequencer: Sequencer | None = None) -> None:
        self.sequencer = sequencer or reign({"n": 0}, "w", "v")
        self.sequencer.state.cluster_id = "cluster"
        self.last = 0

    def order(self, **changes: Any) -> Entry:
        self.last += 1
        made = Propose(self.last, 1, self.last << 16, *self.sequencer.state.pair, **changes)
        return entry_of(self.sequencer.propose("w", made))

    def emit(self, number: int) -> Entry:
        return self.order(kind="event", body=None, event=["e", [number]])

    def patch(self, event: list[Any] | None = None) -> Entry:
        return self.order(kind="patch", body={"$inc": {"n": 1}}, event=event)

    def state(self, **fields: Any) -> Entry:
        return self.order(kind="presence", body=fields)


def joined() -> tuple[Host, Peer]:
    """A host, and a peer that has announced its first snapshot."""
    host, peer = Host(), Peer()
    host.emit(-1)
    peer.install(host.sequencer)
    assert peer.announce([]) == []  # a newcomer has missed nothing
    return host, peer


def test_patches_come_as_one_list_and_events_between_them() -> None:
    host, peer = joined()
    first, second = host.patch(), host.patch()
    assert peer.take(first, second) == [[first.version, second.version]]
    batch = [host.patch(), host.emit(1), host.patch(), host.patch(["with", []]), host.patch()]
    v = [entry.version for entry in batch]
    expected = [[v[0]], ("e", 1), [v[2], v[3]], ("with",), [v[4]]]
    assert peer.take(*batch) == expected
    assert peer.announce([]) == []


def test_a_snapshot_is_a_gap_with_its_number_in_its_place() -> None:
    host, peer = joined()
    before = peer.apply(host.patch(), host.emit(1))
    host.emit(2), host.emit(3), host.patch()
    peer.install(host.sequencer)
    after = peer.apply(host.emit(4), host.patch())
    expected = [[before[0].version], ("e", 1), ("events missed", 2), ("e", 4), [after[1].version]]
    assert peer.announce([*before, *after]) == expected


def test_a_snapshot_alone_is_a_gap_only_if_there_were_events() -> None:
    host, peer = joined()
    host.patch()
    peer.install(host.sequencer)
    assert peer.announce([]) == []
    host.emit(1)
    peer.install(host.sequencer)
    assert peer.announce([]) == [("events missed", 1)]
    assert peer.announce([]) == []


def test_entries_that_an_error_kept_back_are_announced_from_the_log() -> None:
    host, peer = joined()
    lost = peer.apply(host.emit(1), host.patch())
    assert peer.take(host.emit(2)) == [("e", 1), [lost[1].version], ("e", 2)]


def test_events_that_were_lost_with_their_host_are_not_taken_for_others() -> None:
    host, peer = joined()
    base = host.sequencer.state.encode()
    peer.take(host.emit(1), host.emit(2))
    state = new_state()
    state.restore(base)
    next_host = Host(reign(state=state, epoch=2))
    next_host.sequencer.attach("w", 1)
    next_host.last = host.last - 2
    for number in (3, 4, 5):
        next_host.emit(number)
    peer.install(next_host.sequencer)
    assert peer.announce([]) == [("events missed", 3)]


def test_a_copy_that_begins_behind_announces_nothing_twice() -> None:
    host, peer = joined()
    base = host.sequencer.state.encode()
    batch = [host.emit(1), host.patch(), host.emit(2)]
    peer.take(*batch)
    peer.state.torn = True
    peer.state.restore(base)
    assert peer.announce([]) == []
    for entry in batch:
        peer.state.apply(entry)
    assert peer.announce([]) == []
    peer.log.reset(*peer.state.pair)
    assert peer.take(host.emit(3)) == [("e", 3)]


def test_presence_is_in_its_place_and_ends_with_the_member() -> None:
    host, peer = joined()
    batch = [host.patch(), host.state(a=1), host.emit(1), host.state(a=None), host.state(a=2)]
    assert peer.take(*batch) == [
        [batch[0].version],
        ("presence", ("w", {"a": 1})),
        ("e", 1),
        ("presence", ("w", None)),
        ("presence", ("w", {"a": 2})),
    ]
    left = host.sequencer.leave("w", keeps_session=True).entry
    assert peer.take(left) == [("presence", ("w", None))]
    back = host.sequencer.append_system("member", {"join": hello("w").member()}).entry
    assert peer.take(back) == [("presence", ("w", {"a": 2}))]
    assert peer.take(host.sequencer.leave("w").entry) == [("presence", ("w", None))]


def test_after_a_snapshot_the_presence_that_differs_is_announced() -> None:
    host, peer = joined()
    peer.take(host.state(a=1))
    assert entry_of(host.sequencer.propose("v", proposal(1, {"b": 1}, kind="presence")))
    peer.install(host.sequencer)
    assert peer.announce([]) == [("presence", ("v", {"b": 1}))]
    host.sequencer.leave("v")
    host.state(a=True)
    peer.install(host.sequencer)
    assert peer.announce([]) == [("presence", ("w", {"a": True})), ("presence", ("v", None))]


def test_presence_in_entries_that_an_error_kept_back_is_announced() -> None:
    host, peer = joined()
    peer.take(host.state(a=1))
    peer.apply(host.sequencer.leave("w").entry)
    assert peer.announce([]) == [("presence", ("w", None))]


def is_interrupted(step: Callable[[], object], lines: int) -> bool:
    """Whether KeyboardInterrupt has ended a step, before it had run more lines of the announcer."""

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal lines
        if frame.f_code.co_filename != announcer.__file__:
            return None
        if event == "line":
            lines -= 1
            if lines < 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        step()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def check_once(story: list[Any], events: list[int]) -> None:
    """Check that patches are announced at most once, and that gaps stand for missing events."""
    versions = [v for item in story if isinstance(item, list) for v in item]
    assert versions == sorted(set(versions))
    position = 0
    for item in story:
        if item[0] == "events missed":
            position += item[1]
        elif item[0] == "e":
            assert item[1] == events[position], story
            position += 1
    assert position == len(events), story


@pytest.mark.parametrize("then", ["goes on", "snapshot", "entries above an older snapshot"])
def test_an_interrupt_doubles_nothing_and_the_count_stays_exact(then: str) -> None:
    """After an interrupt, the peer announced all events since the last whole batch again."""
    lines, has_ended = 0, False
    while not has_ended:
        host, peer = joined()
        base = host.sequencer.state.encode()
        batch = peer.apply(host.patch(["e", [0]]), host.patch(), host.emit(1), host.state(a=1))
        batch += peer.apply(host.patch(), host.patch(["e", [2]]), host.patch())
        has_ended = not is_interrupted(lambda: peer.announcer.entries(batch), lines)  # noqa: B023
        if then != "goes on":
            peer.state.torn = True
            peer.announcer.entries([])
        if then == "snapshot":
            peer.install(host.sequencer)
        elif then != "goes on":
            peer.state.restore(base)
            peer.log.reset(*peer.state.pair)
            peer.apply(*batch)
        story = peer.announce([]) + peer.take(host.emit(3), host.patch())
        check_once(story, [0, 1, 2, 3])
        assert ("presence", ("w", {"a": 1})) in story or then == "goes on"
        lines += 1
    assert lines > 50


def test_an_interrupted_gap_is_counted_once() -> None:
    lines, has_ended = 0, False
    while not has_ended:
        host, peer = joined()
        before = peer.apply(host.emit(0))
        host.emit(1), host.emit(2), host.patch()
        peer.install(host.sequencer)
        batch = [*before, *peer.apply(host.patch(), host.emit(3), host.patch())]
        has_ended = not is_interrupted(lambda: peer.announcer.entries(batch), lines)  # noqa: B023
        check_once(peer.announce([]) + peer.take(host.emit(4)), [0, 1, 2, 3, 4])
        lines += 1
    assert lines > 30
