"""Threads that read without a lock never see a rebase half done, or anything go back (G4).

One replica, at whose pending writes foreign entries keep pulling: counters, an array, an object
whose keys must move, because the others' came first. Each of them is a rebase of its own. Readers
look at several places natively, with the interpreter switching threads as often as it can.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from memsync import document
from memsync.document import to_plain
from memsync.replication import replica as replica_module
from memsync.replication.entries import Entry, Propose
from memsync.replication.kinds import KINDS
from memsync.replication.log import Log
from memsync.replication.pending import PendingWrite, PendingWrites
from memsync.replication.replica import Replica
from memsync.replication.state import State

from .builders import take

REBASES = 100_000
PER_CYCLE = 8  # foreign entries that come while own writes are under way
PER_BOX = 60  # cycles, after which array and object begin anew under another name
ME, OTHER = "me", "other"


class Traffic:
    """The replica, what its host would send it, and what readers may rely on."""

    def __init__(self) -> None:
        guard = threading.RLock()
        state = State(guard, KINDS)
        state.bootstrap({"n": 0, "o": {"deep": {"n": 0}}, "box0": {"list": [], "keys": {}}}, {})
        log = Log(0, 0, max_entries=100, max_bytes=1 << 20)
        self.replica: Replica[PendingWrite] = Replica(ME, state, log, PendingWrites(keep=10), guard)
        self.replica.must_rebuild = True
        self.replica.publish()
        self.n = self.deep = self.length = self.theirs = 0  # confirmed
        self.own_n = 0  # what is under way of it
        self.n_at = [0]  # with what is under way, by version
        self.box = 0
        # The box, the first and the last number of an own key in it: those are there to stay.
        self.promised = (0, 0, -1)

    def enter(self, operations: list[dict[str, Any]], number: int = 0) -> None:
        """An entry comes in."""
        version = self.replica.state.version + 1
        peer = ME if number else OTHER
        self.n_at.append(self.n + self.own_n)
        take(self.replica, Entry(1, version, peer, number, 0, "patch", operations))

    def show(self, body: Any) -> int:
        """An own write."""
        replica = self.replica
        number = replica.writes.next_number
        version = replica.view_pair[1]
        with replica.guard:
            replica.show(PendingWrite(Propose(number, number, 0, 1, version, "patch", body)))
        return number

    def cycle(self, index: int) -> None:
        """Own writes, pulled at by foreign entries, and in the end confirmed."""
        box = f"box{self.box}"
        several = self.show(
            {
                "$inc": {"n": 1, "o.deep.n": 1},
                "$push": {f"{box}.list": {"i": index}},
                "$set": {f"{box}.keys.own{index}": index},
            }
        )
        copied = self.show([{"op": "copy", "from": "/n", "path": f"/{box}/list/-"}])
        self.own_n = 1
        self.promised = (*self.promised[:2], index)
        for step in range(PER_CYCLE):
            self.enter(self.foreign(step, box))
            self.replica.publish()
        names = list(self.replica.state.document[box]["keys"])
        assert list(self.replica.view[box]["keys"]) == [*names, f"own{index}"]
        self.n += 1
        self.own_n = 0
        self.deep += 1
        mine = [
            add(f"/{box}/list/{self.length}", {"i": index}),
            put("/n", self.n),
            put("/o/deep/n", self.deep),
            add(f"/{box}/keys/own{index}", index),
        ]
        self.enter(mine, several)
        self.enter([add(f"/{box}/list/{self.length + 1}", self.n)], copied)
        self.length += 2
        self.replica.publish()

    def foreign(self, step: int, box: str) -> list[dict[str, Any]]:
        """Another peer's write, which meets some of ours."""
        if step % 4 == 0:
            self.n += 1
            return [put("/n", self.n)]
        if step % 4 == 1:
            self.deep += 1
            return [put("/o/deep/n", self.deep)]
        if step % 4 == 2:
            # Our last element is another one now, and behind another one.
            self.n += 1
            self.length += 1
            return [put("/n", self.n), add(f"/{box}/list/{self.length - 1}", {"i": -1})]
        self.theirs += 1
        return [add(f"/{box}/keys/their{self.theirs}", 0)]

    def next_box(self, index: int) -> None:
        """Begin with an empty array and object; those before the present ones go."""
        self.enter([add(f"/box{self.box + 1}", {"list": [], "keys": {}})])
        if self.box:
            self.enter([{"op": "remove", "path": f"/box{self.box - 1}"}])
        self.replica.publish()
        self.box += 1
        self.length = 0
        self.promised = (self.box, index, index - 1)


def put(path: str, value: Any) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


def add(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


class Reader(threading.Thread):
    """Reads until it is stopped, or has seen what must not be."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__(daemon=True)
        self.traffic = traffic
        self.over = threading.Event()
        self.error: BaseException | None = None
        self.boxes = 0  # how many of them it came across
        self.moments = 0  # how many different states it saw

    def run(self) -> None:
        try:
            self.read()
        except BaseException as error:
            self.error = error

    def read(self) -> None:
        """Look around and around; whatever is gone, or less than it was, raises."""
        traffic = self.traffic
        replica, live, n_at = traffic.replica, traffic.replica.view, traffic.n_at
        deepest = live["o"]["deep"]  # a reference that stays good
        shown, n, deep, box, length, count = (0, 0), 0, 0, -1, 0, 0
        # With a rest now and then, or two readers take twice the time of what they look at.
        looks = 0
        while not (self.over.is_set() if looks % 20 else self.over.wait(0.0005)):
            looks += 1
            shown = not_less("shown", replica.view_pair, shown)
            found = not_less("n", live["n"], n)
            assert found >= n_at[shown[1]], "a version is shown before its content"
            self.moments += found != n
            n = found
            deep = not_less("deep.n", live["o"]["deep"]["n"], deep)
            deep = not_less("deep.n by reference", deepest["n"], deep)
            promised, first, last = traffic.promised
            place = live.get(f"box{promised}")
            if place is None:
                assert traffic.promised[0] > promised + 1, "a box is missing"
                continue
            if promised != box:
                box, length, count = promised, 0, 0
                self.boxes += 1
            array, fields = place["list"], place["keys"]
            length = not_less("length", len(array), length)
            if length:
                assert array[length - 1] is not None
            count = not_less("keys", len(fields), count)
            for index in {first, (first + last) // 2, last} if last >= first else ():
                assert fields[f"own{index}"] == index


def not_less(name: str, value: Any, before: Any) -> Any:
    assert value >= before, f"{name} went back from {before} to {value}"
    return value


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads take turns as often as the interpreter lets them."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("eager_switching")
def test_g4_readers_without_a_lock_see_no_rebase_half_done_and_nothing_go_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rebases = 0
    converge = document.converge

    def counted(*args: Any) -> None:
        nonlocal rebases
        rebases += 1
        converge(*args)

    monkeypatch.setattr(replica_module, "converge", counted)
    traffic = Traffic()
    readers = [Reader(traffic) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        index = 0
        while rebases < REBASES and not any(reader.error for reader in readers):
            if index and index % PER_BOX == 0:
                traffic.next_box(index)
            traffic.cycle(index)
            index += 1
    finally:
        for reader in readers:
            reader.over.set()
        for reader in readers:
            reader.join()
    for reader in readers:
        if reader.error is not None:
            raise reader.error
        assert reader.boxes > 10, "it read too seldom to see anything"
        assert reader.moments > 1000, "it read too seldom to see anything"
    assert rebases >= index * PER_CYCLE
    replica = traffic.replica
    assert not replica.writes.pending
    assert repr(to_plain(replica.view)) == repr(replica.state.document)
    assert (replica.view["n"], replica.view["o"]["deep"]["n"]) == (traffic.n, traffic.deep)
