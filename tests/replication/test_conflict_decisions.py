"""The sequencer decides conflicts as DESIGN 5 says, and a new host as the old one would (G7).

The model keeps every entry, with the document it was applied to, and reads the rule off the updates
themselves: it shares nothing with `document.footprint.write_set` or the index.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memsync.document import to_plain
from memsync.errors import ConflictError, from_wire
from memsync.replication.clock import COUNTER_BITS, HybridClock
from memsync.replication.entries import Decision, Propose
from memsync.replication.kinds import KINDS
from memsync.replication.log import Log
from memsync.replication.sequencer import Gap, Ordered, Sequencer
from memsync.replication.state import State

from .builders import BIG, HOST, few_as_many, proposal, reign

PEERS = ["A", "B", "C"]
START = {"n": 4, "o": {"n": 1, "m": {"k": 2}}, "list": [1, {"n": 1, "s": [1]}, 3]}

UPDATES: list[dict[str, Any]] = [
    *({name: {"n": 3}} for name in ("$inc", "$mul", "$min", "$max", "$set")),
    *({"$set": {"n": value}} for value in (4, 1.0, 1, True)),
    *({"$bit": {"n": {name: 3}}} for name in ("and", "or", "xor")),
    {"$bit": {"n": {"and": 7, "or": 1}}},
    {"$unset": {"n": ""}},
    {"$currentDate": {"n": True}},
    {"$rename": {"n": "o.x"}},
    {"$rename": {"o.n": "p"}},
    {"$setOnInsert": {"n": 1}, "$inc": {"o.m.k": 1}},
    {"$inc": {"o.n": 1, "n": 1}},
    {"$set": {"o.m.k": 5}},
    {"$set": {"o.m.k": 5}, "$inc": {"o.n": 2}},
    {"$set": {"o": {"n": 2, "m": {"k": 5}}}},
    {"$set": {"y": {"n": 1}, "x": 2}},
    {"$set": {"y": {"n": 1}, "2": 1, "10": 2}},
    {"$set": {"o.y": 1, "o.x": []}},
    {"$set": {"o.0": 1, "o.x": {"0": "a text that is longer than its digest"}}},
    {"$unset": {"o": ""}},
    {"$unset": {"o.m": ""}},
    {"$min": {"o.m.k": 1}},
    {"$min": {"o": {"n": 0}}},
    {"$push": {"list": 7}},
    {"$push": {"list": {"$each": [7, {"n": 0}]}}},
    {"$push": {"list": {"$each": [7], "$position": 0}}},
    {"$push": {"list": {"$each": [], "$slice": 4}}},
    {"$push": {"list.3": 1}},
    {"$addToSet": {"list": 9}},
    {"$addToSet": {"list": 8}},
    {"$pop": {"list": 1}},
    {"$pull": {"list": 7}},
    {"$set": {"list": [1, {"n": 1, "s": [1]}, 3]}},
    {"$set": {"list.0": 5}},
    {"$set": {"list.0": 6}},
    {"$inc": {"list.0": 1}},
    {"$mul": {"list.2": 2}},
    {"$unset": {"list.2": ""}},
    {"$inc": {"list.6": 1}},
    {"$set": {"list.4": 1}},
    {"$inc": {"list.1.n": 1}},
    {"$set": {"list.1": {"n": 2, "s": [1]}}},
    {"$push": {"list.1.s": 1}},
    {"$addToSet": {"list.1.s": 3}},
    {"$inc": {"list.1.s.0": 1}},
    {"$inc": {"list.$[i]": 1}},
    {"$mul": {"list.$[i]": 2}},
    {"$set": {"list.$[i]": 0}},
    {"$unset": {"list.$[i]": ""}},
    {"$inc": {"list.1.s.$[]": 1}},
]
LISTS: list[list[dict[str, Any]]] = [
    [{"op": "add", "path": "/list/-", "value": 7}],
    [{"op": "add", "path": "/list/0", "value": 7}],
    [{"op": "remove", "path": "/list/0"}],
    [{"op": "replace", "path": "/list/0", "value": 5}],
    [{"op": "replace", "path": "/list/1/n", "value": 5}],
    [{"op": "add", "path": "/n", "value": 4}],
    [{"op": "replace", "path": "/n", "value": 3}],
    [{"op": "remove", "path": "/n"}],
    [{"op": "remove", "path": "/o/m"}, {"op": "add", "path": "/list/-", "value": 7}],
    [{"op": "move", "from": "/o/n", "path": "/n"}],
    [{"op": "copy", "from": "/o/n", "path": "/n"}],
    [{"op": "replace", "path": "", "value": START}],
]
GUARD = {"op": "test", "path": "/n", "value": 4}

# -- the rule, written plainly ---------------------------------------------------------------------


class Said(NamedTuple):
    """One path that an update names, and what it does there."""

    path: tuple[str, ...]
    kind: str
    value: Any
    inside: bool  # inside elements of the array at the path, whichever those are

    @property
    def pointer(self) -> str:
        return "".join(f"/{part}" for part in self.path)


COMMUTING = ("$set", "$unset", "$inc", "$mul", "$min", "$max", "$addToSet")
PLAIN = "other"  # commutes with nothing


def said(body: Any) -> Iterator[Said]:
    """What an update, or an RFC 6902 list, says that it writes."""
    if isinstance(body, list):
        for operation in body:
            yield from said_by_operation(operation)
        return
    for name, fields in body.items():
        if name == "$setOnInsert":
            continue
        for path, operand in fields.items():
            yield at(path, kind_of(name, operand), operand)
            if name == "$rename":
                yield at(operand, PLAIN, None)


def at(path: str, kind: str, value: Any) -> Said:
    parts = path.split(".")
    for index, part in enumerate(parts):
        if part.startswith("$"):
            if kind in ("$set", "$unset"):
                kind = PLAIN  # whether they chose the same elements is not known
            return Said(tuple(parts[:index]), kind, value, True)
    return Said(tuple(parts), kind, value, False)


def kind_of(name: str, operand: Any) -> str:
    if name == "$bit" and len(operand) == 1:
        return f"$bit {[*operand]}"
    if name == "$push":
        is_plain = not isinstance(operand, dict) or [*operand] in (["$each"], ["n"])
        return name if is_plain else PLAIN
    return name if name in COMMUTING else PLAIN


def said_by_operation(operation: dict[str, Any]) -> Iterator[Said]:
    op, path = operation["op"], tuple(operation["path"].split("/")[1:])
    if op == "test":
        return
    if op == "move":
        yield Said(tuple(operation["from"].split("/")[1:]), PLAIN, None, False)
    if op == "add" and path[-1] == "-":
        yield Said(path[:-1], "$push", None, False)
    elif op in ("move", "copy") or (op != "replace" and path[-1].isdecimal()):
        yield Said(path, PLAIN, None, False)
    elif op == "remove":
        yield Said(path, "$unset", None, False)
    else:
        yield Said(path, "$set", operation["value"], False)


def is_there(document: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if isinstance(document, list) and part.isdecimal() and int(part) < len(document):
            document = document[int(part)]
        elif isinstance(document, dict) and part in document:
            document = document[part]
        else:
            return False
    return True


def is_below(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


class Noted(NamedTuple):
    """An accepted entry; `document` is the one that it was applied to."""

    version: int
    timestamp: int
    peer: str
    names: list[Said]
    document: Any
    operations: list[dict[str, Any]]


def commute(one: Said, one_on: Any, other: Said, other_on: Any) -> bool:
    """Whether two writes that meet commute; `_on` is the document which each was applied to."""
    if (one.kind == PLAIN and not one.inside) or (other.kind == PLAIN and not other.inside):
        return False
    same = one.path == other.path
    if one.kind == other.kind != PLAIN:
        if one.kind == "$set":
            return same and repr(one.value) == repr(other.value)
        upper = min(one, other, key=lambda each: len(each.path))
        if same or one.kind == "$unset" or upper.inside:
            return True
    for push, inner, document in ((one, other, other_on), (other, one, one_on)):
        if push.kind != "$push" or push.inside:
            continue
        if same and inner.inside:
            return True
        if is_below(inner.path, push.path):
            element = inner.path[: len(push.path) + 1]
            if element[-1].isdecimal() and is_there(document, element):
                return True
    return False


class Model:
    """Every entry there was."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.entries: list[Noted] = []

    def conflict(self, peer: str, asked: Propose, document: Any) -> str | None:
        """The first path of a proposal which an entry forbids that it had not seen."""
        is_list = isinstance(asked.body, list)
        if self.mode == "last":
            return None
        if asked.where is not None or (is_list and any(o["op"] == "test" for o in asked.body)):
            return None
        for name in said(asked.body):
            for entry in self.entries:
                if entry.version <= asked.version or entry.peer == peer:
                    continue
                if self.mode != "strict" and entry.timestamp <= asked.timestamp:
                    continue
                for known in entry.names:
                    do_meet = (
                        known.path == name.path
                        or is_below(known.path, name.path)
                        or is_below(name.path, known.path)
                    )
                    if do_meet and not commute(known, entry.document, name, document):
                        return name.pointer
        return None

    def element(self, asked: Propose, document: Any) -> tuple[bool, bool]:
        """Whether a list must be, and whether it may be, refused for an element that it names.

        It says that it relies on no write of its peer, so what that has moved was not seen either.
        """
        must = may = False
        for index in named_indexes(asked.body, document):
            at: int | None = index
            for entry in self.entries:
                if entry.version <= asked.version:
                    continue
                touches = any(said.path[:1] in ((), ("list",)) for said in entry.names)
                may = may or touches
                for operation in entry.operations:
                    at = followed(at, operation, len(entry.document["list"]))
            must = must or at != index
        return must, may


def named_indexes(body: Any, document: Any) -> Iterator[int]:
    """The indexes of ``list`` that an RFC 6902 list names."""
    for operation in body if isinstance(body, list) else ():
        parts = operation["path"].split("/")[1:]
        if parts[:1] == ["list"] and len(parts) > 1 and parts[1].isdecimal():
            yield int(parts[1])


def followed(at: int | None, operation: dict[str, Any], length: int) -> int | None:
    """Where the element of ``list`` at an index is after an operation; None: nowhere."""
    op, path = operation["op"], operation["path"]
    if at is None or path in ("", "/list"):
        return None
    container, _, token = path.rpartition("/")
    if container != "/list" or op == "replace":
        return at
    place = int(token)
    if op == "remove":
        return None if place == at else at - (place < at)
    return at + 1 if place <= at and place < length else at


# -- the sequencer asked ---------------------------------------------------------------------------


class Step(NamedTuple):
    """A proposal to come; it has not seen the last `lag` versions."""

    peer: str
    body: Any
    time: int
    lag: int
    where: Any


_bodies = st.sampled_from([*UPDATES, *LISTS])
_guarded = st.sampled_from(LISTS).map(lambda body: [GUARD, *body])
_wheres = st.sampled_from([{"n": {"$gte": 0}}, {"list": 7}, {"o.n": 1}])
_steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(PEERS),
        st.one_of(_bodies, _bodies, _bodies, _guarded),
        st.integers(0, 12),
        st.integers(0, 8),
        st.one_of(st.none(), st.none(), st.none(), _wheres),
    ),
    min_size=10,
    max_size=40,
)


class Numbers:
    """Makes proposals of steps; each peer has read all that was decided before."""

    def __init__(self) -> None:
        self.next = dict.fromkeys(PEERS, 1)

    def proposal(self, step: Step, version: int) -> Propose:
        """The next proposal of the step's peer."""
        number = self.next[step.peer]
        self.next[step.peer] += 1
        uses = isinstance(step.body, dict) and "$[i]" in repr(step.body)
        return proposal(
            number,
            step.body,
            acked_below=number,
            timestamp=step.time << COUNTER_BITS,
            version=max(version - step.lag, 1),
            where=step.where,
            array_filters=[{"i": {"$type": "number"}}] if uses else None,
        )


def a_host(mode: str, max_index: int) -> Sequencer:
    """A host with three writers."""
    options = {"conflict": mode, "network": {"maxIndex": max_index}}
    state = State(contextlib.nullcontext(), KINDS)
    state.bootstrap(START, options)
    return reign(None, *PEERS, state=state)


def refusal(result: Ordered | Decision | Gap) -> Exception | None:
    """The error of a proposal that was refused."""
    assert not isinstance(result, Gap)
    if isinstance(result, Ordered) or result.error is None:
        return None
    return from_wire(result.error)


def check_against_the_model(mode: str, steps: list[Step], max_index: int = 4096) -> None:
    """Have a host decide, and the model as well.

    With a small index the host may refuse more, and name another path; never less.
    """
    host, model, numbers = a_host(mode, max_index), Model(mode), Numbers()
    for step in steps:
        document = to_plain(host.state.document)
        asked = numbers.proposal(step, host.state.version)
        path = model.conflict(step.peer, asked, document)
        result = host.propose(step.peer, asked)
        error = refusal(result)
        must, may = model.element(asked, document)
        if must:
            assert type(error) is ConflictError
        if may and type(error) is ConflictError and "may name another" in str(error):
            continue
        if path is not None:
            assert type(error) is ConflictError
            assert error.version == host.state.version
            assert error.path == path or max_index < 100
            continue
        is_guarded = isinstance(asked.body, list) and GUARD in asked.body
        assert type(error) is not ConflictError or is_guarded or max_index < 100
        if isinstance(result, Ordered):
            names, operations = list(said(asked.body)), result.entry.body
            model.entries.append(
                Noted(host.state.version, asked.timestamp, step.peer, names, document, operations)
            )


@pytest.mark.parametrize("mode", ["timestamp", "strict", "last"])
@settings(max_examples=300, deadline=None)
@given(steps=_steps)
def test_g7_it_decides_as_who_keeps_every_entry_and_reads_the_rule(
    mode: str, steps: list[Step]
) -> None:
    check_against_the_model(mode, steps)


@pytest.mark.parametrize("mode", ["timestamp", "strict", "last"])
@settings(max_examples=300, deadline=None)
@given(steps=_steps, max_index=st.integers(1, 3))
def test_g7_what_it_has_forgotten_it_refuses_rather_than_let_a_conflict_pass(
    mode: str, steps: list[Step], max_index: int
) -> None:
    check_against_the_model(mode, steps, max_index)


@pytest.mark.parametrize("max_index", [1, 2, 4, 4096])
@settings(max_examples=150, deadline=None)
@given(steps=_steps)
def test_g7_many_paths_are_decided_on_as_few_are(max_index: int, steps: list[Step]) -> None:
    with few_as_many():
        check_against_the_model("timestamp", steps, max_index)


PAIRS = list(product([*UPDATES, *LISTS], repeat=2))


def test_any_two_updates_of_which_the_older_one_comes_later() -> None:
    for first, second in PAIRS:
        steps = [Step("A", first, 2, 0, None), Step("B", second, 1, 1, None)]
        check_against_the_model("timestamp", steps)


def test_an_older_update_that_meets_a_forgotten_one() -> None:
    for first, second in PAIRS:
        steps = [
            Step("A", first, 2, 0, None),
            Step("A", {"$inc": {"z": 1}}, 2, 0, None),
            Step("B", second, 1, 2, None),
        ]
        check_against_the_model("timestamp", steps, max_index=1)


def test_any_two_updates_on_the_road_of_those_with_many_paths() -> None:
    with few_as_many():
        for first, second in PAIRS:
            steps = [Step("A", first, 2, 0, None), Step("B", second, 1, 1, None)]
            check_against_the_model("timestamp", steps)


def successor(old: Sequencer, numbers: Numbers) -> Sequencer:
    """A host that has nothing but a snapshot of the old one's state."""
    state = State(contextlib.nullcontext(), KINDS)
    state.restore(old.state.encode())
    log = Log(*state.pair, max_entries=1000, max_bytes=BIG)
    new = Sequencer(state, log, HybridClock(), host=HOST, epoch=old.epoch, max_frame=BIG)
    for peer, number in numbers.next.items():
        new.attach(peer, number)
    return new


@pytest.mark.parametrize("mode", ["timestamp", "strict", "last"])
@settings(max_examples=150, deadline=None)
@given(steps=_steps, moment=st.integers(0, 30), max_index=st.sampled_from([1, 2, 4, 4096]))
def test_g7_a_host_that_begins_with_a_snapshot_goes_on_as_the_old_one_would(
    mode: str, steps: list[Step], moment: int, max_index: int
) -> None:
    old, numbers = a_host(mode, max_index), Numbers()
    moment %= len(steps)
    for step in steps[:moment]:
        old.propose(step.peer, numbers.proposal(step, old.state.version))
    new = successor(old, numbers)
    for step in steps[moment:]:
        asked = numbers.proposal(step, old.state.version)
        expected, found = old.propose(step.peer, asked), new.propose(step.peer, asked)
        if isinstance(expected, Ordered):
            assert isinstance(found, Ordered)
            assert found.frame == expected.frame
        else:
            assert found == expected
        assert new.state.encode() == old.state.encode()
