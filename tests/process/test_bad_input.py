"""What cannot be written is refused by class, code and outcome, and changes nothing anywhere."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from memsync import (
    ConditionError,
    MemErrors,
    MemSync,
    NotSerializableError,
    NotStartedError,
    TooLargeError,
    UpdateError,
    UsageError,
)
from memsync.testing import Cluster, Peer

pytestmark = pytest.mark.process

DATA = {"n": 1, "s": "some text", "list": [1, 2], "o": {"a": None}}

# update, class, what the message must name: value, place, way out
REFUSED = {
    "a set": ({"$set": {"a": {1}}}, NotSerializableError, ["set", "a:", "use"]),
    "a set deep inside": (
        {"$set": {"a": [0, {"b": {1}}]}},
        NotSerializableError,
        ["set", "a.1.b", "use"],
    ),
    "bytes": ({"$set": {"a": b"x"}}, NotSerializableError, ["bytes", "a:", "use"]),
    "not a number": ({"$set": {"a": float("nan")}}, NotSerializableError, ["nan", "a:"]),
    "too big an integer": ({"$set": {"a": 2**64}}, NotSerializableError, ["64 bits", "a:", "use"]),
    "too long a field name": ({"$set": {"f" * 1100: 1}}, NotSerializableError, ["fff", "1024"]),
    "an unknown operator": ({"$foo": {"n": 1}}, UpdateError, ["'$foo'", "known are", "$inc"]),
    "no operator": ({"n": 1}, UpdateError, ["'n'", "$set"]),
    "conflicting paths": (
        {"$set": {"o.a": 1}, "$inc": {"o": 2}},
        UpdateError,
        ["'o.a'", "'o'", "conflict", "two updates"],
    ),
    "$inc of a string": ({"$inc": {"s": 1}}, UpdateError, ["some text", "$inc", "'s'", "string"]),
    "$inc by a string": ({"$inc": {"n": "x"}}, UpdateError, ["$inc", "'x'", "'n'", "string"]),
    "$push to a number": ({"$push": {"n": 1}}, UpdateError, ["$push", "'n'", "array"]),
    "a path through a number": ({"$set": {"n.x": 1}}, UpdateError, ["'n.x'", "1"]),
    "no update at all": (5, UpdateError, ["5", "$set"]),
    "an unknown RFC 6902 operation": ([{"op": "bad", "path": ""}], UpdateError, ["'bad'"]),
    "a missing place": ([{"op": "remove", "path": "/nope"}], UpdateError, ["/nope"]),
    "a third operator that fails": (
        {"$inc": {"n": 1}, "$push": {"list": 3}, "$pop": {"s": 1}},
        UpdateError,
        ["$pop", "'s'", "string"],
    ),
}
CODES = {
    NotSerializableError: MemErrors.ERR_NOT_SERIALIZABLE,
    UpdateError: MemErrors.ERR_UPDATE,
}


def unchanged(cluster: Cluster, version: int) -> None:
    """All peers hold the original object at the version it had."""
    assert cluster.settled() == DATA
    assert {peer.version for peer in cluster.peers} == {version}


@pytest.mark.parametrize("case", REFUSED)
def test_g5_a_bad_update_is_refused_with_a_message_that_helps_and_changes_nothing(
    cluster: Cluster, case: str
) -> None:
    update, kind, named = REFUSED[case]
    cluster.start(3, DATA)
    cluster.settled()
    version = cluster.peers[0].version
    for peer in cluster.peers[:2]:  # the host, and a client
        with pytest.raises(kind) as caught:
            peer.patch(update)
        assert type(caught.value) is kind
        assert caught.value.code is CODES[kind]
        assert caught.value.outcome == "not_applied"
        for part in named:
            assert part in str(caught.value)
        unchanged(cluster, version)
    assert cluster.peers[1].patch({"$set": {"fine": 1}}) == version + 1


def test_an_unmet_where_tells_version_and_value(cluster: Cluster) -> None:
    cluster.start(2, DATA)
    for peer in cluster.peers:
        version = peer.version
        with pytest.raises(ConditionError, match="'n'") as caught:
            peer.run(lambda mem: mem.patch({"$inc": {"n": 1}}, where={"n": 2}))
        assert caught.value.code is MemErrors.ERR_CONDITION
        assert caught.value.outcome == "not_applied"
        assert caught.value.version == version
        assert caught.value.value == {"n": 1}
        unchanged(cluster, version)
    assert peer.run(lambda mem: mem.patch({"$inc": {"n": 1}}, where={"n": 1})) == version + 1


def test_one_of_many_that_claim_the_same_gets_it(cluster: Cluster) -> None:
    def claim(mem: MemSync[Any], who: str) -> int:
        won = 0
        for i in range(40):
            try:
                mem.patch({"$set": {f"j{i}": who}}, where={f"j{i}": "free"})
                won += 1
            except ConditionError:
                pass
        return won

    cluster.start(4, {f"j{i}": "free" for i in range(40)})
    tickets = [(p, p.begin(claim, number)) for number, p in enumerate(cluster.peers)]
    won = [peer.result(ticket) for peer, ticket in tickets]
    assert sum(won) == 40
    final = list(cluster.settled().values())
    assert [final.count(number) for number in range(4)] == won


def test_an_update_without_effect_makes_no_version(cluster: Cluster) -> None:
    cluster.start(2, DATA)
    for peer in cluster.peers:
        version = peer.version
        assert peer.patch({"$set": {"n": 1}}) == version
        assert peer.patch({"$pull": {"list": 99}}) == version
        unchanged(cluster, version)


def test_g5_no_reader_ever_sees_half_of_an_update(cluster: Cluster) -> None:
    def watch(mem: MemSync[Any]) -> Any:
        seen = 0
        while True:
            copy = mem.snapshot()
            if not copy["a"] == copy["b"] == copy["o"]["c"]:
                return copy
            if copy["a"] >= 100:
                return seen
            seen += 1

    def write(mem: MemSync[Any]) -> None:
        for _ in range(50):
            mem.patch({"$inc": {"a": 1, "b": 1, "o.c": 1}})
            with pytest.raises(UpdateError):
                mem.patch({"$inc": {"a": 100, "b": 100}, "$push": {"text": 1}})

    cluster.start(4, {"a": 0, "b": 0, "o": {"c": 0}, "text": ""})
    host, one, two, reader = cluster.peers
    watchers = [(peer, peer.begin(watch)) for peer in (host, reader)]
    writers = [(peer, peer.begin(write)) for peer in (one, two)]
    for peer, ticket in writers:
        peer.result(ticket)
    for peer, ticket in watchers:
        assert isinstance(peer.result(ticket), int)


@pytest.mark.parametrize(
    ("name", "part"),
    [("a/b", "'/'"), ("x" * 301, "301"), ("", "0 characters"), ("a b", "' '"), (5, "int")],
)
def test_a_name_that_cannot_be_used_is_refused_at_once(name: Any, part: str) -> None:
    with pytest.raises(UsageError, match="A-Z a-z 0-9") as caught:
        MemSync(name)
    assert part in str(caught.value)
    assert caught.value.code is MemErrors.ERR_USAGE


@pytest.mark.parametrize(
    "call",
    [
        lambda mem: mem.data,
        lambda mem: mem.patch({"$set": {"a": 1}}),
        lambda mem: mem.submit({"$set": {"a": 1}}),
        lambda mem: mem.snapshot(),
        lambda mem: mem.version,
        lambda mem: mem.epoch,
        lambda mem: mem.id,
        lambda mem: mem.peers,
        lambda mem: mem.has_peers(),
        lambda mem: mem.ping(),
    ],
)
def test_a_call_before_start_names_start_and_with(call: Callable[[MemSync[Any]], object]) -> None:
    with pytest.raises(NotStartedError, match=r"start\(\).*with") as caught:
        call(MemSync("obj"))
    assert caught.value.code is MemErrors.ERR_NOT_STARTED
    assert caught.value.outcome == "not_applied"


def test_status_and_stop_work_before_start() -> None:
    mem = MemSync[Any]("obj")
    assert mem.get_status()["status"] == "stopped"
    mem.stop()


@pytest.mark.parametrize("timeout", [-1, float("nan"), 3601, True, "5"])
def test_a_timeout_that_is_none_is_refused(cluster: Cluster, timeout: object) -> None:
    with pytest.raises(UsageError, match="timeout"):
        cluster.peer().patch({"$set": {"a": 1}}, timeout=timeout)


def test_an_update_over_the_frame_limit_is_refused_and_the_peer_goes_on(cluster: Cluster) -> None:
    small = {"network": {"maxFrame": 65536}}
    cluster.start(2, {"n": 1, "copies": []}, small)
    for peer in cluster.peers:
        cluster.settled()  # the other one's write is pushed after it is acknowledged
        version = peer.version
        with pytest.raises(TooLargeError, match=r"network\.maxFrame.*65536") as caught:
            peer.patch({"$set": {"text": "x" * 70_000}})
        assert caught.value.code is MemErrors.ERR_TOO_LARGE
        assert peer.version == version
        peer.patch({"$inc": {"n": 1}})
    assert cluster.settled()["n"] == 3


def test_a_small_update_whose_patch_is_too_large_is_refused_by_the_host(cluster: Cluster) -> None:
    small = {"network": {"maxFrame": 65536}}
    host, client = cluster.start(2, {}, small)
    for i in range(4):
        client.patch({"$set": {f"t{i}": "x" * 30_000}})
    version = client.version
    renaming = {"$rename": {"t0": "a", "t1": "b", "t2": "c"}}  # moves 90,000 bytes
    for peer in (host, client):
        with pytest.raises(TooLargeError, match=r"network\.maxFrame.*split") as caught:
            peer.patch(renaming)
        assert caught.value.outcome == "not_applied"
        peer.patch({"$inc": {"n": 1}})
    assert cluster.settled()["n"] == 2
    assert client.version == version + 2


def raise_in_child(peer: Peer, update: Any) -> bytes:
    """The pickle of what a patch raises in that process."""

    def catch(mem: MemSync[Any]) -> bytes:
        try:
            mem.patch(update)
        except Exception as error:
            return pickle.dumps(error)
        raise AssertionError("nothing was raised")

    pickled: bytes = peer.run(catch)
    return pickled


def test_errors_travel_between_processes_with_all_they_say(cluster: Cluster) -> None:
    host, client = cluster.start(2, DATA)
    for peer in (host, client):
        error = pickle.loads(raise_in_child(peer, {"$inc": {"s": 1}}))
        assert type(error) is UpdateError
        assert (error.kind, error.path, error.server_code) == ("type_mismatch", "s", 14)
        assert (error.code, error.outcome) == (MemErrors.ERR_UPDATE, "not_applied")
        assert isinstance(error, ValueError)


def test_an_unmet_where_on_a_large_value_is_still_a_condition_error(cluster: Cluster) -> None:
    small = {"network": {"maxFrame": 65536}}
    for peer in cluster.start(2, {"text": "x" * 60_000}, small):
        with pytest.raises(ConditionError):
            peer.run(lambda mem: mem.patch({"$set": {"n": 1}}, where={"text": "y"}, timeout=5))
        peer.patch({"$inc": {"fine": 1}})


def test_an_object_larger_than_the_frame_limit_reaches_a_newcomer(cluster: Cluster) -> None:
    small = {"network": {"maxFrame": 65536}}
    host = cluster.peer({}, small)
    for i in range(5):
        host.patch({"$set": {f"t{i}": "x" * 50_000}})
    newcomer = cluster.peer(options=small | {"timeout": 5})
    assert newcomer.snapshot() == host.snapshot()
