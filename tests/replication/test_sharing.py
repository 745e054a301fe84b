"""What the confirmed document and the view share, and that no change of one reaches the other.

The peers of `test_interleavings` write, read and are refused; at each step the confirmed document
is compared with a serial model, and the view with the confirmed document and the pending writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from memsync.document import Operation, ReadOnlyDict, Sharing, make_live, to_plain
from memsync.document.live import sharing
from memsync.replication.entries import Entry
from memsync.replication.pending import PendingWrite
from memsync.replication.replica import Replica

from .builders import entry_of, few_as_many, new_replica, proposal, reign, take
from .test_interleavings import Interleavings

BRIEF = settings(max_examples=60, stateful_step_count=40, deadline=None)


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """One function or number is another one."""
    with mock.patch.object(owner, name, value):
        yield


def at_once(self: Sharing, confirmed: dict[str, Any]) -> dict[str, Any]:
    """`Sharing.rejoined` that never waits until it pays."""
    self._repeated = self._copied
    return REJOINED(self, confirmed)


REJOINED = Sharing.rejoined


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_large_containers_are_not_shared_and_all_stays_equal(limit: int) -> None:
    with replaced(sharing, "MAX_SHARED", limit):
        run_state_machine_as_test(Interleavings, settings=BRIEF)


def test_documents_that_are_joined_again_at_once_stay_equal() -> None:
    with replaced(Sharing, "rejoined", at_once):
        run_state_machine_as_test(Interleavings, settings=BRIEF)


@pytest.mark.parametrize("limit", [1, sharing.MAX_SHARED])
def test_where_all_that_can_be_is_done_in_runs_all_stays_equal(limit: int) -> None:
    with replaced(sharing, "MAX_SHARED", limit), few_as_many():
        run_state_machine_as_test(Interleavings, settings=BRIEF)


def nothing(self: Sharing, confirmed: dict[str, Any], operation: Operation) -> dict[str, Any]:
    """Open nothing but the root."""
    return self._opened_root(confirmed)


def no_root(self: Sharing, confirmed: dict[str, Any], operation: Operation) -> dict[str, Any]:
    """Open nothing at all."""
    return confirmed


MUTATIONS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "a shown write opens nothing": (Sharing, "open_shown", no_root),
    "a shown write opens the root only": (Sharing, "open_shown", nothing),
    "an entry that waits opens the root only": (Sharing, "_opened", nothing),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_the_machine_finds(name: str) -> None:
    """The code broken on purpose: without these findings the tests above would prove nothing."""
    many = settings(
        max_examples=400,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
    )
    with ExitStack() as stack:
        stack.enter_context(replaced(Sharing, "rejoined", at_once))
        stack.enter_context(replaced(*MUTATIONS[name]))
        with pytest.raises(BaseException):  # noqa: B017, PT011  # an assertion, or what follows
            run_state_machine_as_test(Interleavings, settings=many)


# -- by example ------------------------------------------------------------------------------------


def settled(data: dict[str, Any]) -> tuple[Any, Replica[PendingWrite]]:
    """A host, and a copy in which nothing is pending."""
    host = reign(data, "me", "other")
    copy = new_replica()
    for each in [host.state.encode()]:
        copy.state.restore(each)
        copy.must_rebuild = True
    copy.log.reset(*copy.state.pair)
    copy.publish()
    return host, copy


def arrive(host: Any, copy: Replica[PendingWrite], number: int, body: Any) -> Entry:
    """Another peer's write reaches the copy."""
    entry = entry_of(host.propose("other", proposal(number, body)))
    take(copy, entry)
    copy.publish()
    return entry


def test_where_nothing_is_pending_there_is_one_document() -> None:
    host, copy = settled({"a": {"n": 0}, "list": [{"n": 0}]})
    assert copy.state.document is copy.view
    arrive(host, copy, 1, {"$set": {"b": {"c": [1]}}, "$inc": {"list.0.n": 1}})
    assert copy.state.document is copy.view
    assert copy.view == host.state.document
    assert type(copy.view["b"]["c"]) is not list


def test_a_pending_write_leaves_the_confirmed_document_alone_and_shares_the_rest() -> None:
    _, copy = settled({"a": {"n": 0}, "b": {"n": 0}, "list": [{"n": 0}, {"n": 1}]})
    copy.show(PendingWrite(proposal(1, {"$inc": {"a.n": 1, "list.1.n": 1}})))
    confirmed = copy.state.document
    assert to_plain(confirmed) == {"a": {"n": 0}, "b": {"n": 0}, "list": [{"n": 0}, {"n": 1}]}
    assert confirmed["b"] is copy.view["b"]
    assert confirmed["list"][0] is copy.view["list"][0]
    assert confirmed["a"] is not copy.view["a"]


def test_an_element_that_the_view_has_moved_is_found_by_its_identity() -> None:
    _, copy = settled({"list": [{"n": 0}, {"n": 1}]})
    first = {"$push": {"list": {"$each": [{"n": 9}], "$position": 0}}}
    copy.show(PendingWrite(proposal(1, first)))
    copy.show(PendingWrite(proposal(2, {"$inc": {"list.2.n": 5}})))
    assert copy.view == {"list": [{"n": 9}, {"n": 0}, {"n": 6}]}
    assert to_plain(copy.state.document) == {"list": [{"n": 0}, {"n": 1}]}


@pytest.mark.parametrize(
    "body",
    [
        {"$set": {"a": {"new": [2]}}},
        {"$pop": {"list": 1}},
        {"$unset": {"a": ""}},
        {"$set": {"list.0": {"x": 1}, "a.deep.n": 5}},
        {"$rename": {"a": "b"}},
        [{"op": "replace", "path": "", "value": {"a": {"x": 1}, "list": [{"y": 1}]}}],
    ],
)
def test_a_write_that_a_rebase_shows_for_the_first_time_changes_the_view_alone(body: Any) -> None:
    start = {"a": {"deep": {"n": 1}}, "list": [{"n": 0}, {"n": 1}], "c": 0}
    host, copy = settled(start)
    copy.show(PendingWrite(proposal(1, body, where={"c": 1})))
    assert copy.state.document is copy.view  # it does not apply yet
    arrive(host, copy, 1, {"$set": {"c": 1}})
    assert to_plain(copy.state.document) == host.state.document == {**start, "c": 1}
    expected = reign(host.state.document, "me")
    entry_of(expected.propose("me", proposal(1, body)))
    assert to_plain(copy.view) == expected.state.document
    arrive(host, copy, 2, {"$inc": {"list.0.n": 1}})
    assert to_plain(copy.state.document) == host.state.document


def test_the_documents_are_joined_again_after_as_many_changes_as_the_copy_has_items() -> None:
    host, copy = settled({f"k{i}": 0 for i in range(4)})
    joined = []
    for number in range(1, 7):
        write = PendingWrite(proposal(number, {"$inc": {"k0": 1}}, timestamp=number << 20))
        copy.show(write)
        take(copy, entry_of(host.propose("me", write.proposal)))
        copy.publish()
        joined.append(copy.state.document is copy.view)
    assert joined == [False, False, False, True, False, False]
    assert copy.view == host.state.document


def test_a_container_that_grows_too_large_is_shared_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sharing, "MAX_SHARED", 3)
    host, copy = settled({"big": {"a": {}, "b": {}, "c": {}}})
    arrive(host, copy, 1, {"$set": {"big.d": {}}})
    confirmed = copy.state.document
    assert confirmed is not copy.view
    assert confirmed["big"] is not copy.view["big"]
    assert confirmed["big"]["a"] is copy.view["big"]["a"]
    arrive(host, copy, 2, {"$set": {"big.e": {}, "big.a.x": 1}})
    assert copy.state.document["big"]["a"] is copy.view["big"]["a"]
    assert to_plain(copy.view) == to_plain(copy.state.document) == host.state.document


def test_a_rebuilt_view_shares_nothing_with_what_it_was_made_from() -> None:
    view = make_live({"a": {}}, None)
    sharing = Sharing(view)
    document: dict[str, Any] = {"a": {}}
    confirmed = sharing.rebuild_view(document, document)
    assert confirmed is view
    detached = sharing.detached(confirmed)
    assert (type(detached), type(detached["a"])) == (dict, dict)
    assert isinstance(view, ReadOnlyDict)
