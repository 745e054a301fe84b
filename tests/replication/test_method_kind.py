"""The directory of calls: records of peers, wanted listeners, published functions."""

from __future__ import annotations

from typing import Any

import pytest

from memsync.errors import ReadOnlyError, TooLargeError, UsageError, from_wire
from memsync.replication.entries import Decision, Propose
from memsync.replication.kinds import KINDS
from memsync.replication.kinds.method import (
    FUNCTION_BYTES,
    NAME_MAX,
    PUBLISHED_BYTES,
    RECORD_BYTES,
    PeerRecord,
    callable_peers,
    directory,
    publishing,
    stating,
    unpublishing,
    wanting,
)
from memsync.replication.sequencer import Sequencer

from .builders import entry_of, hello, new_state, proposal, reign

RECORD = PeerRecord("/tmp/w.sock", {"math.add": "", "get": "i"})


def method(number: int, change: Any) -> Propose:
    """The proposal of a change of the directory."""
    return proposal(number, change, kind="method")


def propose(host: Sequencer, peer: str, number: int, change: Any) -> Any:
    """The body of the entry that a change makes."""
    return entry_of(host.propose(peer, method(number, change))).body


def refusal(host: Sequencer, number: int, change: Any, peer: str = "w") -> Exception:
    """The error that refuses a change."""
    decision = host.propose(peer, method(number, change))
    assert isinstance(decision, Decision)
    assert decision.error is not None
    return from_wire(decision.error)


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        PeerRecord(("127.0.0.1", 4711)),
        PeerRecord(methods={"a": ""}),
        PeerRecord(pickles=False),
    ],
)
def test_a_record_is_there_as_it_was_stated(record: PeerRecord) -> None:
    host = reign({"n": 1}, "w", "v")
    propose(host, "w", 1, stating(record))
    assert callable_peers(host.state) == {"v": PeerRecord(), "w": record}
    copy = new_state()
    copy.restore(host.state.encode())
    assert directory(copy).peers == {"w": record}
    assert host.state.document == {"n": 1}


def test_a_record_replaces_the_last_one_and_an_empty_one_ends_it() -> None:
    host = reign({}, "w")
    propose(host, "w", 1, stating(RECORD))
    propose(host, "w", 2, stating(PeerRecord(methods={"b": ""})))
    assert directory(host.state).peers == {"w": PeerRecord(methods={"b": ""})}
    propose(host, "w", 3, stating(PeerRecord()))
    assert directory(host.state).peers == {}


def test_a_wanted_listener_is_wanted_until_there_is_an_address() -> None:
    host = reign({}, "w", "v")
    propose(host, "w", 1, wanting("v"))
    assert directory(host.state).peers["v"].wanted
    propose(host, "v", 1, stating(PeerRecord(methods={"a": ""})))  # its methods have changed
    assert directory(host.state).peers["v"] == PeerRecord(methods={"a": ""}, wanted=True)
    propose(host, "v", 2, stating(RECORD))
    assert directory(host.state).peers["v"] == RECORD


def test_a_listener_that_is_gone_is_wanted_again() -> None:
    host = reign({}, "w", "v")
    propose(host, "v", 1, stating(RECORD))
    assert isinstance(host.propose("w", method(1, wanting("v", "/tmp/other.sock"))), Decision)
    propose(host, "w", 2, wanting("v", RECORD.address))
    assert directory(host.state).peers["v"] == PeerRecord(None, RECORD.methods, wanted=True)


@pytest.mark.parametrize("peer", ["v", "w", "nobody"])
def test_what_makes_no_difference_makes_no_entry(peer: str) -> None:
    host = reign({}, "w", "v")
    propose(host, "v", 1, stating(RECORD))
    propose(host, "w", 1, wanting("w"))
    propose(host, "w", 2, publishing("f", b"code"))
    for number, change in enumerate(
        [wanting(peer), stating(PeerRecord()), publishing("f", b"code"), unpublishing("g")], 3
    ):
        version = host.state.version
        assert isinstance(host.propose("w", method(number, change)), Decision)
        assert host.state.version == version


def test_a_peer_cannot_state_that_it_is_wanted() -> None:
    host = reign({}, "w")
    propose(host, "w", 1, stating(PeerRecord(methods={"a": ""}, wanted=True)))
    assert directory(host.state).peers == {"w": PeerRecord(methods={"a": ""})}


def test_a_record_goes_with_its_peer_and_a_function_stays() -> None:
    host = reign({}, "w", "v")
    for peer in ("w", "v"):
        propose(host, peer, 1, stating(RECORD))
    propose(host, "w", 2, publishing("square", b"code"))
    revision = directory(host.state).revision
    host.leave("w")
    assert directory(host.state).peers == {"v": RECORD}
    assert directory(host.state).revision > revision
    assert directory(host.state).published == {"square": b"code"}
    host.append_system("member", {"join": hello("w").member()})
    assert callable_peers(host.state)["w"] == PeerRecord()


def test_a_peer_that_may_live_is_hidden_and_keeps_its_record() -> None:
    host = reign({}, "w")
    propose(host, "w", 1, stating(RECORD))
    host.leave("w", keeps_session=True)
    assert "w" not in callable_peers(host.state)
    host.append_system("member", {"join": hello("w").member()})
    assert callable_peers(host.state)["w"] == RECORD


def test_a_function_is_published_again_and_ended() -> None:
    host = reign({}, "w")
    propose(host, "w", 1, publishing("f", b"1"))
    propose(host, "w", 2, publishing("f", b"2"))
    assert directory(host.state).published == {"f": b"2"}
    propose(host, "w", 3, unpublishing("f"))
    assert directory(host.state).published == {}


def test_only_a_writer_publishes_and_a_reader_states_its_methods() -> None:
    host = reign({})
    host.append_system("member", {"join": hello("r", ()).member()})
    host.attach("r", 1)
    assert isinstance(refusal(host, 1, publishing("f", b"code"), "r"), ReadOnlyError)
    assert isinstance(refusal(host, 2, unpublishing("f"), "r"), ReadOnlyError)
    propose(host, "r", 3, stating(RECORD))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (5, UsageError, "5 is no change"),
        ({}, UsageError, "one change"),
        ({**wanting("v"), **unpublishing("f")}, UsageError, "one change"),
        ({"record": {"methods": ["a"]}}, UsageError, "no change"),
        ({"record": {"address": 5}}, UsageError, "no change"),
        ({"publish": ["f", "text"]}, UsageError, "no change"),
        ({"other": 1}, UsageError, "unknown field"),
        (publishing("", b""), UsageError, "1 to 300 characters"),
        (publishing("a..b", b""), UsageError, "empty part"),
        (publishing("x" * (NAME_MAX + 1), b""), UsageError, "1 to 300 characters"),
        (stating(PeerRecord(methods={"": ""})), UsageError, "1 to 300 characters"),
        (publishing("f", bytes(FUNCTION_BYTES + 1)), TooLargeError, "import its code"),
        (
            stating(PeerRecord(methods={f"{n:0300}": "" for n in range(RECORD_BYTES // 300)})),
            TooLargeError,
            "fewer methods",
        ),
    ],
)
def test_what_is_no_change_is_refused(change: Any, error: type[Exception], words: str) -> None:
    host = reign({}, "w")
    for refused in (refusal(host, 1, change),):
        assert isinstance(refused, error)
        assert words in str(refused)
    with pytest.raises(error):
        KINDS["method"].check(change, None)
    propose(host, "w", 2, stating(RECORD))  # the host goes on


def test_all_published_functions_together_have_a_limit() -> None:
    host = reign({}, "w")
    number = PUBLISHED_BYTES // (FUNCTION_BYTES - 100)
    for n in range(number):
        propose(host, "w", n + 1, publishing(f"f{n}", bytes(FUNCTION_BYTES - 100)))
    refused = refusal(host, number + 1, publishing("more", bytes(10_000)))
    assert isinstance(refused, TooLargeError)
    assert "unpublish" in str(refused)
    propose(host, "w", number + 2, publishing("f0", b"less"))
