"""G14: what a peer keeps takes the memory that its limit in bytes says, whatever was written."""

from __future__ import annotations

import gc
import sys
import threading
import tracemalloc
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from memsync.replication.codec import decode, frame
from memsync.replication.entries import Entry, Propose, SnapshotChunk
from memsync.replication.log import Log
from memsync.replication.outcomes import _MAX_PATCH_BYTES
from memsync.replication.pending import PendingWrite, PendingWrites
from memsync.replication.replica import Replica
from memsync.replication.sequencer import Ordered, Sequencer
from memsync.runtime.awaited_write import AwaitedWrite
from memsync.runtime.window import Window

from .builders import new_replica, reign, take

LIMIT = 1 << 18  # bytes
FACTOR = 3  # for the objects that hold the frames; decoded, they take ten to twenty times

BODIES: dict[str, Callable[[int], Any]] = {
    "a patch of 1,000 operations": lambda number: [
        {"op": "replace", "path": f"/f/k{key}", "value": number * 1000 + key} for key in range(1000)
    ],
    "a $set of nested values": lambda number: {
        "$set": {"big": {f"k{key}": [number, key, {"a": key / 3}] for key in range(300)}}
    },
    "a long string": lambda number: {"$set": {"s": "x" * 20_000 + str(number)}},
    "a counter": lambda number: {"$inc": {f"counters.c{number % 50}": 1}},
}
bodies = pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)


def growth(keep_some_more: Callable[[int], object], bytes_each: int) -> int:
    """The bytes of memory that stay after three times as much as the limit was added."""
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(1, 3 * LIMIT // bytes_each):
            keep_some_more(number)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def proposal(number: int, body: Any) -> Propose:
    """A proposal as a writer makes it."""
    return Propose(number, number, number << 20, 1, number, "patch", body)


@bodies
def test_g14_the_writes_that_a_writer_remembers(body: Callable[[int], Any]) -> None:
    writes: PendingWrites[PendingWrite] = PendingWrites(keep=10**9, keep_bytes=LIMIT)

    def write(number: int) -> None:
        made = proposal(number, body(number))
        pending = PendingWrite(made, frame(made))
        writes.add(pending)
        pending.operations = made.body if isinstance(made.body, list) else [made.body]
        writes.complete(number, made_entry=True)
        pending.resolve(number, None)

    size = len(frame(proposal(1, body(1))))
    assert growth(write, size) <= FACTOR * LIMIT
    assert len(writes._recent) * (size + 400) > LIMIT / 2  # as much as fits, not less


@bodies
def test_g14_the_entries_that_the_log_holds(body: Callable[[int], Any]) -> None:
    log = Log(1, 0, max_entries=10**9, max_bytes=LIMIT)

    def append(number: int) -> None:
        entry = Entry(1, number, "a" * 16, number, number << 20, "patch", body(number), number)
        log.append(entry, frame(entry)[4:])

    size = len(frame(Entry(1, 1, "a" * 16, 1, 1 << 20, "patch", body(1), 1)))
    assert growth(append, size) <= FACTOR * LIMIT
    assert len(log) * size > LIMIT / 2


@bodies
def test_what_is_remembered_is_proposed_again_as_it_was(body: Callable[[int], Any]) -> None:
    writes: PendingWrites[PendingWrite] = PendingWrites(keep=10)
    for number in (1, 2, 3):
        made = proposal(number, body(number))
        writes.add(PendingWrite(made, frame(made) if number != 2 else b""))
    for number in (1, 2, 3):
        writes.complete(number, made_entry=True)
    for _ in range(2):  # remembered, recalled, remembered
        writes.recall(1)
        again = [decode(frame(write.proposal)[4:]) for write in writes.after(0)]
        assert again == [
            Propose(number, 2, number << 20, 1, number, "patch", body(number)) for number in (2, 3)
        ]
        for number in (2, 3):
            writes.complete(number, made_entry=True)


def test_a_base_that_was_reset_stays_so_while_a_write_is_remembered() -> None:
    writes: PendingWrites[PendingWrite] = PendingWrites(keep=10)
    made = proposal(1, {"$set": {"a": 1}})
    writes.add(PendingWrite(made, frame(made)))
    writes.reset_base()
    writes.complete(1, made_entry=True)
    writes.recall(0)
    again = writes.pending[1].proposal
    assert (again.epoch, again.version, again.body) == (0, 0, {"$set": {"a": 1}})


def logged(count: int, body: Callable[[int], Any]) -> Log:
    """A log with so many entries."""
    log = Log(1, 0, max_entries=count, max_bytes=1 << 30)
    for number in range(1, count + 1):
        entry = Entry(1, number, "a" * 16, number, number << 20, "patch", body(number), number)
        log.append(entry, frame(entry)[4:])
    return log


@bodies
def test_g14_the_patches_that_an_error_tells(body: Callable[[int], Any]) -> None:
    log = logged(40, body)
    size = log.size_since(39)
    for limit in (0, size, 10 * size, 10**9):
        found = [entry.version for entry in log.newest(5, 30, limit)]
        assert found == list(range(41 - len(found), 41))
        assert log.size_since(40 - len(found)) <= max(limit, size)
        assert len(found) >= min(max(1, limit // size - 1), 30)
    assert [entry.version for entry in log.newest(38, 30, 10**9)] == [39, 40]
    assert log.newest(40, 30, 10**9) == log.newest(41, 30, 10**9) == []


def test_g14_the_error_of_a_write_that_a_large_patch_refuses_is_bounded() -> None:
    body = BODIES["a patch of 1,000 operations"]
    log = logged(100, body)
    found = log.newest(0, 1000, _MAX_PATCH_BYTES)
    assert 0 < len(found) * log.size_since(99) <= _MAX_PATCH_BYTES < log.size_since(0)


WINDOW_LIMIT = 1 << 22  # bytes
PLACES = 1 << 20  # more than the bytes allow


@bodies
def test_g14_the_writes_under_way(body: Callable[[int], Any]) -> None:
    writes: PendingWrites[AwaitedWrite] = PendingWrites(keep=10)
    window = Window(threading.RLock(), PLACES, WINDOW_LIMIT, writes, lambda: None)
    gc.collect()
    tracemalloc.start()
    try:
        while window._free_bytes > 0 or window._has_room():
            number = writes.next_number
            proposal = Propose(number, 1, number << 20, 1, number, "patch", body(number))
            encoded = frame(proposal)
            write = AwaitedWrite(proposal, 0, None, encoded)
            again = decode(encoded[4:])
            assert isinstance(again, Propose)
            write.operations = again.body if isinstance(again.body, list) else [again.body]
            writes.add(write)
            window.add(write)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken <= FACTOR * WINDOW_LIMIT
    assert len(writes.pending) > 2


def test_g14_a_snapshot_that_is_encoded() -> None:
    size = 1 << 20
    state = reign({"list": ["x" * 100] * (size // 100)}).state
    tracemalloc.start()
    try:
        state.encode()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3.2 * size  # the document as a part, and the part in the snapshot, with reserves


@pytest.mark.parametrize("shown", [True, False], ids=["others' writes", "own writes"])
@bodies
def test_g14_what_the_entries_have_replaced(body: Callable[[int], Any], shown: bool) -> None:
    host = reign({"f": {f"k{key}": 0 for key in range(1000)}, "big": {}, "counters": {}}, "p")
    copy = new_replica("me" if shown else "p", max_bytes=LIMIT // 2)
    take_snapshot(host, copy)
    for number in range(1, 25):
        result = host.propose("p", proposal(number, body(number)))
        assert isinstance(result, Ordered)
        take(copy, result.entry)
        copy.publish()
        assert size_of(copy.log._taken) <= FACTOR * LIMIT // 2


def size_of(value: Any) -> int:
    """The bytes of an object with all that it holds; names of fields are shared."""
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        return size + sum(map(size_of, dict.values(value)))
    if isinstance(value, (deque, list, tuple)):
        return size + sum(map(size_of, value))
    inner = [getattr(value, name, None) for name in ("fields", "order", "value")]
    return size + sum(map(size_of, filter(None, inner)))


def take_snapshot(host: Sequencer, copy: Replica[PendingWrite]) -> None:
    """Make a copy level with the host."""
    copy.add_chunk(SnapshotChunk(bytes(host.state.encode()), True))
    copy.publish()
