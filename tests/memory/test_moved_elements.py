"""A draft, and a list, name the element that their writer saw: host and client, old and new values.

The elements of the arrays are alike, so that a test of the values that a draft has read holds for
the wrong element as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memsync import ConflictError, MemSync

Pair = tuple[MemSync[Any], MemSync[Any]]
JOBS = [{"id": number, "state": "open", "tags": ["x", "x"]} for number in range(4)]
FRONT = [{"op": "remove", "path": "/jobs/0"}]


@pytest.fixture(params=["host", "client"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """The handle that edits, and another one."""
    data = {"jobs": JOBS, "ids": {"0": {"n": 1}, "1": {"n": 1}}, "free": 0}
    options = {"engine": "memory"}
    with MemSync[Any]("moved", data, options) as host, MemSync[Any]("moved", None, options) as one:
        yield (host, one) if request.param == "host" else (one, host)


def states(mem: MemSync[Any]) -> dict[int, str]:
    return {job["id"]: job["state"] for job in mem.snapshot("jobs")}


EDITS: dict[str, Callable[[Any], Any]] = {
    "a field of an element": lambda d: d["jobs"][1].update(state="mine"),
    "an element": lambda d: d["jobs"].__setitem__(1, {"id": 1, "state": "mine"}),
    "a field of the last one": lambda d: d["jobs"][-1].update(state="mine"),
    "an element of an element": lambda d: d["jobs"][1]["tags"].__setitem__(0, "mine"),
    "a push to an element": lambda d: d["jobs"][1]["tags"].append("mine"),
    "what was read only": lambda d: d.update(free=len(d["jobs"][1]["state"])),
}


@pytest.mark.parametrize("other_thread", [False, True], ids=["another peer", "the same peer"])
@pytest.mark.parametrize("case", EDITS)
def test_a_draft_is_refused_if_its_element_moved_while_it_was_open(
    pair: Pair, case: str, other_thread: bool
) -> None:
    """Also after this peer has shown the move, and if a thread of its own has made it."""
    mem, other = pair
    before = states(mem)
    mover = mem if other_thread else other
    edit = mem.edit()
    draft = edit.__enter__()
    EDITS[case](draft)
    mover.patch(FRONT)
    mem.wait_for({"jobs": {"$size": 3}}, timeout=10)
    with pytest.raises(ConflictError) as caught:
        edit.__exit__(None, None, None)
    assert caught.value.outcome == "not_applied"
    del before[0]
    assert states(mem) == before
    assert mem.snapshot("free") == 0


@pytest.mark.parametrize("case", EDITS)
def test_transact_repeats_it_on_what_is_there_now(pair: Pair, case: str) -> None:
    mem, other = pair
    tries = []

    def change(draft: Any) -> None:
        tries.append(draft)
        EDITS[case](draft)
        if len(tries) == 1:
            other.patch(FRONT)
            mem.wait_for({"jobs": {"$size": 3}}, timeout=10)

    mem.transact(change, timeout=10)
    assert len(tries) == 2


@pytest.mark.parametrize(
    "update",
    [
        {"$pop": {"jobs": 1}},
        {"$push": {"jobs": {"id": 9, "state": "open"}}},
        {"$set": {"jobs.0.state": "done"}},
        {"$unset": {"ids.0": ""}},
        {"$set": {"ids.00": {}}},
        [{"op": "add", "path": "/jobs/2", "value": {"id": 9, "state": "open"}}],
    ],
    ids=str,
)
def test_a_draft_is_accepted_if_what_it_names_stayed(pair: Pair, update: Any) -> None:
    mem, other = pair
    with mem.edit() as draft:
        draft["jobs"][1]["state"] = "mine"
        draft["ids"]["1"]["n"] = 2
        version = other.patch(update)
        until_version(mem, version)
    assert mem.snapshot("jobs.1.state") == "mine"
    assert mem.snapshot("ids.1.n") == 2


def until_version(mem: MemSync[Any], version: int) -> None:
    mem.wait_for(lambda _: mem.version >= version, timeout=10)


def test_a_draft_that_was_begun_later_does_not_mind(pair: Pair) -> None:
    mem, other = pair
    until_version(mem, other.patch(FRONT))
    with mem.edit() as draft:
        draft["jobs"][1]["state"] = "mine"
    assert states(mem) == {1: "open", 2: "mine", 3: "open"}


def test_a_draft_of_a_stopped_handle_does_not_write_to_the_next_one(pair: Pair) -> None:
    mem, other = pair
    edit = mem.edit()
    edit.__enter__()["jobs"][1]["state"] = "mine"
    mem.stop()
    other.patch(FRONT)
    mem.start()
    with pytest.raises(ConflictError):
        edit.__exit__(None, None, None)
    assert set(states(mem).values()) == {"open"}


def test_own_writes_that_are_shown_count(pair: Pair) -> None:
    mem, _ = pair
    futures = [
        mem.submit(FRONT),
        mem.submit([{"op": "replace", "path": "/jobs/0/state", "value": "mine"}]),
        mem.submit({"$push": {"jobs": {"id": 9, "state": "new"}}}),
        mem.submit([{"op": "replace", "path": "/jobs/3/state", "value": "mine"}]),
    ]
    for future in futures:
        future.result(10)
    assert states(mem) == {1: "mine", 2: "open", 3: "open", 9: "mine"}
