"""`mem.presence` with each engine."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from memsync import MemSync, NotSerializableError, NotStartedError, TooLargeError, UsageError
from memsync.testing import until


def test_all_see_the_fields_of_each_in_one_order_with_the_rest(engine: str) -> None:
    calls: list[Any] = []
    with MemSync("obj", {"n": 0}, engine=engine) as host:
        host.presence.on_change(lambda peer, fields: calls.append((peer, fields)))
        host.events.on("e", lambda: calls.append("event"))
        host.on("received_patches", lambda patches: calls.extend("patch" for _ in patches))
        with MemSync("obj", options={"peer": {"roles": []}}, engine=engine) as reader:
            peer = reader.id
            host.patch({"$inc": {"n": 1}})
            reader.presence.update(status="busy", job=7)
            reader.events.emit("e")
            reader.presence.update({"a b": 1}, job=None)
            host.patch({"$inc": {"n": 1}})
            assert host.presence.update(me=[1]) > 0
            expected = {peer: {"status": "busy", "a b": 1}, host.id: {"me": [1]}}
            until(lambda: reader.presence.all() == host.presence.all() == expected)
            version = reader.version
            assert reader.presence.update(status="busy") == version
        until(lambda: host.presence.all() == {host.id: {"me": [1]}})
        until(lambda: len(calls) == 7, message=lambda: repr(calls))
        assert calls == [
            "patch",
            (peer, {"status": "busy", "job": 7}),
            "event",
            (peer, {"status": "busy", "a b": 1}),
            "patch",
            (host.id, {"me": [1]}),
            (peer, None),
        ]


def test_what_callers_get_is_their_own(engine: str) -> None:
    with MemSync("obj", engine=engine) as mem:
        calls: list[Any] = []
        for _ in range(2):
            mem.presence.on_change(lambda peer, fields: calls.append(fields))
        given = {"list": [1]}
        mem.presence.update(given)
        given["list"].append(2)
        mem.presence.all()[mem.id]["list"].append(3)
        until(lambda: len(calls) == 2)
        calls[0]["list"].append(4)
        assert (calls[1], mem.presence.all()) == ({"list": [1]}, {mem.id: {"list": [1]}})


def test_a_subscription_ends_the_calls(engine: str) -> None:
    calls: list[Any] = []
    with MemSync("obj", engine=engine) as mem:
        with mem.presence.on_change(lambda *change: calls.append(change)):
            mem.presence.update(n=1)
        mem.presence.update(n=2)
        assert mem.events.emit("last") > 0
    assert [fields for _, fields in calls] == [{"n": 1}]


def test_a_peer_that_starts_again_has_no_fields(engine: str) -> None:
    mem = MemSync("obj", engine=engine)
    with pytest.raises(NotStartedError):
        mem.presence.update(n=1)
    with MemSync("obj", engine=engine) as other:
        with mem:
            mem.presence.update(n=1)
            until(lambda: len(other.presence.all()) == 1)
        with mem:
            assert other.presence.all() == mem.presence.all() == {}


def test_bad_arguments_are_refused() -> None:
    with MemSync("obj", engine="memory") as mem:
        for wrong in (5, [1], "text"):
            with pytest.raises(UsageError, match="takes a dict or named fields"):
                mem.presence.update(wrong)  # type: ignore[arg-type]
        with pytest.raises(NotSerializableError, match=r"presence\.n"):
            mem.presence.update(n=object())
        with pytest.raises(TooLargeError, match="put the values into the object"):
            mem.presence.update(n="x" * (1 << 16))
        with pytest.raises(UsageError, match="must be callable"):
            mem.presence.on_change("no function")  # type: ignore[arg-type]
        assert mem.presence.all() == {}


def test_copies_by_pickle_share_the_fields_of_their_peer(engine: str) -> None:
    with MemSync("obj", engine=engine) as mem:
        copy: MemSync[Any] = pickle.loads(pickle.dumps(mem))
        copy.presence.update(n=1)
        assert mem.presence.all() == {mem.id: {"n": 1}}
        copy.stop()
        assert mem.presence.all() == {mem.id: {"n": 1}}
