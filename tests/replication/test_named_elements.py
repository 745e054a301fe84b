"""A list that names an element by its index reaches that element or none, whatever lies between.

A writer shows its own pending writes, some of which are refused later or have another effect at the
host; entries of others arrive in between, and an interrupt may leave its view half changed. Each
element has an id, and a list writes into a field of the element whose id its writer saw there.
"""

from __future__ import annotations

import contextlib
import copy
from typing import Any
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from memsync import document
from memsync.document import to_plain
from memsync.replication import replica as replica_module
from memsync.replication.codec import HEADER, decode, frame
from memsync.replication.entries import Decision, Entry, Propose
from memsync.replication.moved_indexes import first_relied_on
from memsync.replication.pending import PendingWrite
from memsync.replication.sequencer import Ordered

from .builders import chunk_of, new_replica, new_state, reign, replica_of, take

ARRAYS = ["l", "m"]


def element(number: int) -> dict[str, Any]:
    return {"id": number, "to": None, "k": number % 3}


START: dict[str, Any] = {
    "l": [element(number) for number in range(5)],
    "m": [element(number) for number in range(10, 14)],
    "f": 0,
    "g": 0,
}

_array = st.sampled_from(ARRAYS)
_index = st.integers(0, 4)
_where = st.sampled_from([None, None, {"f": 0}, {"f": 1}, {"g": 0}])
# What a write does beside; some of it is refused if others have written the place.
_beside = st.sampled_from([{}, {}, {"$set": {"f": 1}}, {"$set": {"f": 0}}, {"$inc": {"n": 1}}])


def _updates(new: st.SearchStrategy[int]) -> st.SearchStrategy[Any]:
    """Updates, of which most move elements; no two elements have the same id."""
    moving = st.one_of(
        st.builds(lambda a, end: {"$pop": {a: end}}, _array, st.sampled_from([1, -1])),
        st.builds(lambda a, k: {"$pull": {a: {"k": k}}}, _array, st.integers(0, 2)),
        st.builds(lambda a, n: {"$push": {a: element(n)}}, _array, new),
        st.builds(
            lambda a, n, i: {"$push": {a: {"$each": [element(n)], "$position": i}}},
            _array,
            new,
            _index,
        ),
        st.builds(
            lambda a, s: {"$push": {a: {"$each": [], "$sort": {"id": s}}}},
            _array,
            st.sampled_from([1, -1]),
        ),
        st.builds(lambda a, s: {"$push": {a: {"$each": [], "$slice": s}}}, _array, _index),
        st.builds(lambda a, k: {"$set": {f"{a}.$[].k": k}}, _array, st.integers(0, 2)),
        st.just({}),
    )
    return st.builds(lambda update, beside: {**update, **beside}, moving, _beside).filter(bool)


def _lists(new: st.SearchStrategy[int]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(lambda a, i: [{"op": "remove", "path": f"/{a}/{i}"}], _array, _index),
        st.builds(
            lambda a, i, n: [{"op": "add", "path": f"/{a}/{i}", "value": element(n)}],
            _array,
            _index,
            new,
        ),
        st.builds(
            lambda a, b, i, j: [{"op": "move", "from": f"/{a}/{i}", "path": f"/{b}/{j}"}],
            _array,
            _array,
            _index,
            _index,
        ),
        st.builds(
            lambda a, i, n: [
                {"op": "remove", "path": f"/{a}/{i}"},
                {"op": "add", "path": f"/{a}/0", "value": element(n)},
            ],
            _array,
            _index,
            new,
        ),
    )


def sent(proposal: Propose) -> Propose:
    """What the host gets."""
    message = decode(frame(proposal)[HEADER:])
    assert isinstance(message, Propose)
    return message


class NamedElements(RuleBasedStateMachine):
    """One writer with a view of its own; another peer's writes are ordered at once."""

    mode = "timestamp"

    @initialize()
    def begin(self) -> None:
        state = new_state()
        state.bootstrap(copy.deepcopy(START), {"conflict": self.mode})
        self.host = reign(None, "A", "B", state=state)
        _, frames = replica_of(self.host).catch_up(0, 0)
        self.replica = new_replica("B")
        for each in frames:
            self.replica.add_chunk(chunk_of(each))
        self.replica.publish()
        self.inbox: list[bytes] = []
        self.outbox: list[Propose] = []
        self.time = 1 << 20
        self.theirs = 0

    def propose(self, body: Any, where: Any, age: int) -> PendingWrite:
        self.time += 1 << 16
        writes, (epoch, version) = self.replica.writes, self.replica.view_pair
        return PendingWrite(
            Propose(
                writes.next_number,
                writes.first_open,
                self.time - (age << 16),
                epoch,
                version,
                "patch",
                copy.deepcopy(body),
                where,
                relies_on=first_relied_on(
                    self.replica.view, body, writes.pending, not self.replica.must_rebuild
                ),
            )
        )

    @rule(
        body=st.one_of(_updates(st.integers(1000, 10**6)), _lists(st.integers(1000, 10**6))),
        where=_where,
        age=st.sampled_from([0, 0, 5]),
    )
    def write(self, body: Any, where: Any, age: int) -> None:
        write = self.propose(body, where, age)
        self.outbox.append(sent(write.proposal))
        self.replica.show(write)

    @rule(
        body=st.one_of(_updates(st.integers(1000, 10**6)), _lists(st.integers(1000, 10**6))),
        parts=st.integers(0, 1),
    )
    def write_interrupted(self, body: Any, parts: int) -> None:
        """An interrupt ends the change of the view after so many of its parts."""
        done = 0

        def replay(*arguments: Any, **options: Any) -> None:
            nonlocal done
            if done == parts:
                raise KeyboardInterrupt
            done += 1
            original(*arguments, **options)

        original = document.replay
        write = self.propose(body, None, 0)
        self.outbox.append(sent(write.proposal))
        with (
            mock.patch.object(replica_module, "replay", replay),
            contextlib.suppress(KeyboardInterrupt),
        ):
            self.replica.show(write)

    @rule(array=_array, index=_index, where=_where)
    def name(self, array: str, index: int, where: Any) -> None:
        """Write into an element the id that it has."""
        seen = to_plain(self.replica.view).get(array, [])
        if index >= len(seen):
            return
        body = [{"op": "replace", "path": f"/{array}/{index}/to", "value": seen[index]["id"]}]
        write = self.propose(body, where, 0)
        self.outbox.append(sent(write.proposal))
        self.replica.show(write)

    @rule(
        body=st.one_of(_updates(st.integers(10**6, 10**9)), _lists(st.integers(10**6, 10**9))),
        age=st.sampled_from([0, 5]),
    )
    def another_writes(self, body: Any, age: int) -> None:
        self.time += 1 << 16
        self.theirs += 1
        state = self.host.state
        asked = Propose(
            self.theirs,
            self.theirs,
            self.time - (age << 16),
            state.epoch,
            state.version,
            "patch",
            body,
        )
        result = self.host.propose("A", sent(asked))
        if isinstance(result, Ordered):
            self.inbox.append(result.frame)

    @rule(count=st.integers(1, 4))
    def order(self, count: int) -> None:
        taken, self.outbox = self.outbox[:count], self.outbox[count:]
        for proposal in taken:
            result = self.host.propose("B", proposal)
            if isinstance(result, Ordered):
                self.inbox.append(result.frame)
            else:
                assert isinstance(result, Decision)
                self.inbox.append(frame(result))
            for array in ARRAYS:
                for each in self.host.state.document.get(array, []):
                    assert each["to"] in (None, each["id"]), f"{each} after {proposal}"

    @rule(count=st.integers(1, 4), is_shown=st.booleans())
    def read(self, count: int, is_shown: bool) -> None:
        taken, self.inbox = self.inbox[:count], self.inbox[count:]
        for each in taken:
            message = decode(each[HEADER:])
            if isinstance(message, Decision):
                self.replica.decide(message)
            else:
                assert isinstance(message, Entry)
                take(self.replica, message)
        if is_shown:
            self.replica.advance(self.replica.publish())

    def teardown(self) -> None:
        if hasattr(self, "host"):
            self.order(1000)


def test_an_index_in_a_view_that_lacks_a_pending_write() -> None:
    """After an interrupt the next writes are shown by the rebuild only."""
    machine = NamedElements()
    machine.begin()
    machine.write_interrupted({"$inc": {"n": 1}}, 0)
    machine.write({"$push": {"l": {"$each": [element(1000)], "$position": 0}}}, None, 0)
    assert machine.replica.view["l"][1]["id"] == 1, "the insertion is not shown"
    machine.name("l", 1, None)
    machine.order(4)  # asserts that no other element was written
    assert machine.host.state.document["l"][0]["id"] == 1000


class NamedElementsWithLast(NamedElements):
    """The same where nothing is refused by its timestamp."""

    mode = "last"


TestNamedElements = NamedElements.TestCase
TestNamedElementsWithLast = NamedElementsWithLast.TestCase
TestNamedElements.settings = TestNamedElementsWithLast.settings = settings(
    max_examples=150, stateful_step_count=25, deadline=None, report_multiple_bugs=False
)
