"""What operations have replaced, and a document that goes back by it, key order included."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memsync.document import OldValues, Past, Sharing, compile_update, make_live, to_plain
from memsync.document.live import old_values
from memsync.document.patch.rfc6902 import compile_patch
from memsync.errors import MemSyncError

from .document_strategies import documents, patches, text, updates


class Document:
    """A document of one peer, with the text of each version and what each has replaced."""

    def __init__(self, start: dict[str, Any], *, is_shown: bool = True) -> None:
        self.olds = OldValues()
        self.sharing = Sharing(make_live({}, threading.RLock()), self.olds)
        self.confirmed = self.sharing.rebuild_view(start, start)
        self.is_shown = is_shown
        self.texts = [text(to_plain(self.confirmed))]
        self.log: list[tuple[list[dict[str, Any]], Any]] = []

    def apply(self, operations: list[dict[str, Any]]) -> None:
        replay = self.sharing.replay_both if self.is_shown else self.sharing.replay_confirmed
        self.confirmed = replay(self.confirmed, operations, fit=True)
        self.log.append((operations, self.olds.take()))
        self.texts.append(text(to_plain(self.confirmed)))

    def update(self, update: Any) -> None:
        self.apply(compile_update(self.confirmed, update))

    def check(self, field: str | None = None) -> int:
        """Go back through all versions; the number of those whose order is not known."""
        whole = to_plain(self.confirmed)
        part = whole if field is None else {k: v for k, v in whole.items() if k == field}
        past, unordered = Past(part, field), 0
        for (operations, taken), before in zip(self.log[::-1], self.texts[-2::-1], strict=True):
            past.undo(operations, taken)
            if past.unordered:
                unordered += 1
                assert text(_sorted(past.document)) == text(_sorted(_of(before)))
            elif field is None:
                assert text(past.document) == before
            else:
                assert text(past.document.get(field)) == text(_of(before).get(field))
        return unordered


def _of(document: str) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(document)
    return found


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


@pytest.fixture(params=["encoded", "by reference"])
def kept(request: pytest.FixtureRequest) -> Iterator[str]:
    """How containers are kept that an operation has replaced."""
    limit = old_values.ENCODED if request.param == "encoded" else -1
    with mock.patch.object(old_values, "ENCODED", limit):
        yield request.param


@given(documents, st.lists(st.one_of(updates, patches), max_size=8), st.booleans(), st.booleans())
def test_documents_go_back(start: Any, changes: Any, is_shown: bool, refers: bool) -> None:
    with mock.patch.object(old_values, "ENCODED", -1 if refers else 8192):
        document = Document(start, is_shown=is_shown)
        for change in changes:
            compiled = compile_update if isinstance(change, dict) else compile_patch
            try:
                operations = compiled(document.confirmed, change)
            except MemSyncError:
                continue
            document.apply(operations)
        assert document.check() == 0
        assert document.check("a") == 0


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("at", ["", "in."])
def test_runs_go_back(at: str) -> None:
    """A ``$set`` of many fields, new ones and ones that exist."""
    document = Document({"in": {"n0": [1], "n1": 1}, "n1": {"a": 1}, "n2": None})
    for low in (0, 10, 45, 30):
        document.update({"$set": {f"{at}n{n}": {"v": n} for n in range(low, low + 50)}})
    assert document.check() == 0
    assert document.check("n1") == document.check("in") == 0


@pytest.mark.usefixtures("kept")
def test_the_whole_document_is_replaced() -> None:
    for is_shown in (True, False):
        document = Document({"b": 1, "a": [{"x": 1}]}, is_shown=is_shown)
        document.apply([{"op": "replace", "path": "", "value": {"a": 2, "c": {}}}])
        document.update({"$set": {"c.d": 1}, "$unset": {"a": ""}})
        document.apply([{"op": "add", "path": "", "value": {}}])
        assert document.check() == 0
        assert document.check("a") == 0


@pytest.mark.parametrize("seed", range(3))
def test_fields_of_a_large_object_come_back_in_order(seed: int) -> None:
    """The order is noted at the first removal, and behind it no version is without."""
    drawn = random.Random(seed)
    document = Document({"in": {str(n): n for n in range(1000)}, "n": 0})
    for step in range(300):
        name = str(drawn.randrange(1200))
        kind = "$unset" if name in document.confirmed["in"] else "$set"
        document.update({kind: {f"in.{name}": -step}})
    removed = [index for index, (ops, _) in enumerate(document.log) if ops[0]["op"] == "remove"]
    orders = sum(isinstance(document.log[index][1].order, tuple) for index in removed)
    assert orders == 1
    assert document.check() == removed[-1] - removed[0]  # between the first and the last
    document.olds.order_anew()
    document.update({"$unset": {f"in.{min(document.confirmed['in'])}": ""}})
    assert document.check() == removed[-1] - removed[0]


def test_a_large_object_that_is_replaced_has_its_order() -> None:
    document = Document({"in": {str(n): n for n in range(1000)}})
    document.update({"$unset": {"in.7": ""}})
    document.update({"$set": {"in": {str(n): n for n in range(500)}}})
    document.update({"$unset": {"in.7": ""}})
    document.update({"$unset": {"in.9": ""}})
    document.update({"$unset": {"in": ""}})
    assert document.check() == 1


def test_old_values_of_other_entries_are_refused() -> None:
    past = Past({"a": 1})
    with pytest.raises(ValueError, match="not those of the entry"):
        past.undo([{"op": "remove", "path": "/b"}], (1, 2))
    with pytest.raises(ValueError, match="not those of the entry"):
        past.undo([{"op": "remove", "path": "/a/b"}], 1)


def test_large_values_count_what_they_take() -> None:
    value = [{"name": "x" * 50, "n": n} for n in range(1000)]
    document = Document({"a": value, "b": "y" * 300, "c": 1})
    document.update({"$set": {"a": 0}})
    document.update({"$set": {"b": 0}})
    document.update({"$set": {"c": 0}})
    memory = [old_values.memory_of(taken) for _, taken in document.log]
    assert 100_000 < memory[0] < 1_000_000
    assert memory[1:] == [300, 0]
