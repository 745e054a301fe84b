"""edit() and transact(): drafts whose changes go through only if what they read is still so."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from memsync import ConflictError, MemErrors, MemSync, NotSerializableError, UsageError, handle
from memsync.testing import Cluster, until

pytestmark = pytest.mark.process

DATA = {"cart": {"n": 1, "items": ["a"]}, "other": 0}


Pair = tuple[MemSync[Any], MemSync[Any]]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A host and a client in this process."""
    with MemSync[Any]("edits", DATA) as host, MemSync[Any]("edits") as client:
        yield host, client


def test_what_the_draft_changed_is_in_the_object_on_all_peers(pair: Pair) -> None:
    for mem in pair:
        until(lambda: pair[0].version == pair[1].version, 5)
        before = mem.version
        with mem.edit() as draft:
            draft["cart"]["n"] += 1
            draft["cart"]["items"].append("b")
        assert mem.version == before + 1  # one patch
    until(lambda: pair[0].snapshot() == pair[1].snapshot(), 5)
    assert pair[0].snapshot("cart") == {"n": 3, "items": ["a", "b", "b"]}


@pytest.mark.parametrize("role", ["host", "client"])
def test_a_draft_that_read_a_changed_value_raises_a_conflict(pair: Pair, role: str) -> None:
    mem, other = pair if role == "host" else pair[::-1]
    block = mem.edit()
    draft = block.__enter__()
    draft["other"] = draft["cart"]["n"] + 10
    other.patch({"$inc": {"cart.n": 1}})
    with pytest.raises(ConflictError) as caught:
        block.__exit__(None, None, None)
    error = caught.value
    assert (error.code, error.outcome) == (MemErrors.ERR_CONFLICT, "not_applied")
    assert (error.path, error.value) == ("/cart/n", 2)
    assert mem.snapshot() == {"cart": {"n": 2, "items": ["a"]}, "other": 0}


def test_what_the_draft_did_not_touch_may_change_meanwhile(pair: Pair) -> None:
    host, client = pair
    with client.edit() as draft:
        draft["other"] = 5
        host.patch({"$push": {"cart.items": "z"}})
    assert client.snapshot() == {"cart": {"n": 1, "items": ["a", "z"]}, "other": 5}


def test_a_draft_in_which_nothing_changed_and_one_that_raised_send_nothing(pair: Pair) -> None:
    version = pair[1].version
    with pair[1].edit() as draft:
        assert draft["cart"]["n"] == 1
    with pytest.raises(KeyError, match="missing"), pair[1].edit() as draft:
        draft["other"] = draft["missing"]
    with pytest.raises(NotSerializableError), pair[1].edit() as draft:
        draft["other"] = {1, 2}
    assert (pair[1].version, pair[1].snapshot()) == (version, DATA)


def test_a_draft_inside_a_draft_is_refused_and_the_outer_one_goes_on(pair: Pair) -> None:
    mem = pair[1]
    with mem.edit() as outer:
        outer["other"] = 1
        with pytest.raises(UsageError, match="edit\\(\\) inside edit"), mem.edit():
            pytest.fail("the inner block must not run")
        with pytest.raises(UsageError):
            mem.transact(lambda draft: None)
    assert mem.snapshot("other") == 1
    with mem.edit() as draft:  # and the next one is no inner one
        draft["other"] = 2
    assert mem.snapshot("other") == 2


def test_drafts_in_different_threads_do_not_know_each_other(pair: Pair) -> None:
    mem = pair[1]
    with mem.edit() as draft:
        draft["other"] = 1
        thread = threading.Thread(target=mem.transact, args=(_append,))
        thread.start()
        thread.join(10)
    assert mem.snapshot() == {"cart": {"n": 1, "items": ["a", "x"]}, "other": 1}


def _append(draft: Any) -> None:
    draft["cart"]["items"].append("x")


def test_transact_gives_its_result_and_repeats_until_it_goes_through(pair: Pair) -> None:
    host, client = pair
    calls = []

    def claim(draft: Any) -> str:
        calls.append(draft["cart"]["n"])
        if len(calls) == 1:
            host.patch({"$inc": {"cart.n": 1}})
        draft["other"] = draft["cart"]["n"]
        return f"claimed {draft['other']}"

    assert client.transact(claim) == "claimed 2"
    assert (calls, client.snapshot("other")) == ([1, 2], 2)


def test_transact_that_never_goes_through_ends_with_the_conflict(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow this machine is: else the last try might end without an answer."""
    monkeypatch.setattr(handle, "_LAST_TRY", 60.0)
    host, client = pair

    def hopeless(draft: Any) -> None:
        draft["other"] = draft["cart"]["n"]
        host.patch({"$inc": {"cart.n": 1}})

    with pytest.raises(ConflictError):
        client.transact(hopeless, timeout=0.2)
    assert client.snapshot("other") == 0


def test_processes_that_claim_jobs_by_transact_get_each_job_once(cluster: Cluster) -> None:
    cluster.start(4, {"free": list(range(200)), "taken": []})
    claims = [peer.begin(_claim_all) for peer in cluster.peers]
    taken = [peer.result(claim) for peer, claim in zip(cluster.peers, claims, strict=True)]
    assert sorted(job for jobs in taken for job in jobs) == list(range(200))
    assert sorted(cluster.settled()["taken"]) == list(range(200))


def _claim_all(mem: MemSync[Any]) -> list[int]:
    jobs = []
    while (job := mem.transact(_claim)) is not None:
        jobs.append(job)
    return jobs


def _claim(draft: Any) -> int | None:
    if not draft["free"]:
        return None
    job: int = draft["free"].pop(0)
    draft["taken"].append(job)
    return job
