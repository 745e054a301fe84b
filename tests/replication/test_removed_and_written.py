"""One peer removes a place, another one writes there without having seen it (docs/conflicts.md)."""

from __future__ import annotations

from typing import Any

import pytest

from memsync.errors import ConditionError, ConflictError, UpdateError, from_wire
from memsync.replication.entries import Decision

from .builders import entry_of, new_state, proposal, reign

USER = {"name": "a", "mail": "b"}
START: dict[str, Any] = {"user": USER, "l": ["a", "b", "c"]}
HALF = {"user": {"name": "c"}, "l": START["l"]}
GONE = {"l": START["l"]}
EXISTS = {"user": {"$exists": True}}

UNSET = {"$unset": {"user": ""}}
SET = {"$set": {"user.name": "c"}}
REMOVE_KEY = [{"op": "remove", "path": "/user"}]
REMOVE_ELEMENT = [{"op": "remove", "path": "/l/1"}]
WITHOUT_B = {"user": USER, "l": ["a", "c"]}

# rule, what was ordered, what comes then (newer or older), its condition, the outcome, the object
CASES: dict[str, tuple[str, Any, Any, bool, Any, type[Exception] | None, Any]] = {
    "newer, half an object": ("timestamp", UNSET, SET, True, None, None, HALF),
    "older": ("timestamp", UNSET, SET, False, None, ConflictError, GONE),
    "last, half an object": ("last", UNSET, SET, False, None, None, HALF),
    "strict": ("strict", UNSET, SET, True, None, ConflictError, GONE),
    "stated": ("timestamp", UNSET, SET, True, EXISTS, ConditionError, GONE),
    "stated, last": ("last", UNSET, SET, True, EXISTS, ConditionError, GONE),
    "no condition but one": ("strict", UNSET, SET, False, {}, None, HALF),
    "the other way round": ("timestamp", SET, UNSET, True, None, None, GONE),
    "by a list": ("timestamp", REMOVE_KEY, SET, True, None, None, HALF),
    "both unset it": ("strict", UNSET, UNSET, False, None, None, GONE),
    "both remove the key": ("last", REMOVE_KEY, REMOVE_KEY, True, None, UpdateError, GONE),
    "both remove the element": (
        "timestamp", REMOVE_ELEMENT, REMOVE_ELEMENT, True, None, ConflictError, WITHOUT_B,
    ),
    "both remove the element, last": (
        "last", REMOVE_ELEMENT, REMOVE_ELEMENT, True, None, ConflictError, WITHOUT_B,
    ),
    "both pull the value": (
        "last", {"$pull": {"l": "b"}}, {"$pull": {"l": "b"}}, False, None, None, WITHOUT_B,
    ),
    "both pull the value, newer": (
        "timestamp", {"$pull": {"l": "b"}}, {"$pull": {"l": "b"}}, True, None, None, WITHOUT_B,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_becomes_of_it(case: str) -> None:
    rule, first, second, is_newer, where, refusal, expected = CASES[case]
    state = new_state()
    state.bootstrap(START, {"conflict": rule})
    host = reign(None, "A", "B", state=state)
    seen = state.version
    entry_of(host.propose("A", proposal(1, first, version=seen, timestamp=5 << 16)))
    time = (9 if is_newer else 1) << 16
    result = host.propose("B", proposal(1, second, version=seen, timestamp=time, where=where))
    error = result.error if isinstance(result, Decision) else None
    assert (error and type(from_wire(error))) is refusal
    assert state.document == expected
