"""The programs in chapters 4 to 6 of the predecessor's README (docs/predecessor.md)."""

from __future__ import annotations

from typing import Any

import pytest

from memsync import MemSync
from memsync.testing import Cluster, until

pytestmark = pytest.mark.process

_got: list[Any] = []  # in each peer


def got(mem: MemSync[Any]) -> list[Any]:
    return list(_got)


def test_a_process_calls_a_method_that_another_one_has(cluster: Cluster) -> None:
    rpc = {"getFoo": lambda: "bar"}
    offers = cluster.peer(rpc=rpc)
    assert offers.run(lambda mem: mem.call("getFoo")) == "bar"  # itself, as nobody else can
    assert cluster.peer().run(lambda mem: mem.call("getFoo")) == "bar"  # a client calls the host
    cluster.stop(offers)
    assert cluster.peer(rpc=rpc).status()["status"] == "client"
    assert cluster.host().run(lambda mem: mem.call("getFoo")) == "bar"


def hear(mem: MemSync[Any]) -> None:
    mem.events.on("foo", lambda *args: _got.append(args))


def test_each_process_emits_and_all_listen(cluster: Cluster) -> None:
    peers = cluster.start(3)
    for peer in peers:
        peer.run(hear)
    for number, peer in enumerate(peers):
        peer.run(lambda mem, number=number: mem.events.emit("foo", 123, number))
    expected = [(123, number) for number in range(3)]
    until(lambda: all(peer.run(got) == expected for peer in peers))


def observe(mem: MemSync[Any]) -> None:
    mem.observe("foo", lambda value: _got.append(["foo", value]))
    mem.observe("bar.qux", lambda value: _got.append(["bar.qux", value]))


def test_a_process_observes_properties_that_another_one_changes(cluster: Cluster) -> None:
    peers = cluster.start(2, {"foo": 1, "bar": {"qux": "one"}, "else": 0})
    for peer in peers:
        peer.run(observe)
    expected = [["foo", 2], ["bar.qux", "two"], ["foo", 3]]
    for writes, update, calls in (
        (0, {"foo": 2}, 1),
        (1, {"else": 1}, 1),
        (0, {"foo": 2}, 1),  # its value already
        (1, {"bar.qux": "two"}, 2),
        (1, {"foo": 3}, 3),
    ):
        peers[writes].run(lambda mem, update=update: mem.patch({"$set": update}))
        cluster.settled()
        # A slow observer gets the newest value only.
        until(lambda: all(peer.run(got) == expected[:calls] for peer in peers))  # noqa: B023
