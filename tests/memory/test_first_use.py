"""A handle that came by pickle, or was inherited by a forked child, joins with its first callback.

It joins as with each other first use: otherwise its callbacks would wait for ever.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from memsync import MemSync, RendezvousError
from memsync.testing import until

Register = Callable[[MemSync[Any], list[Any]], Any]

# What registers something, and what it gets when another peer emits ("e", 1), states {"x": 1} and
# writes n. The last item is what the test looks for.
WAYS: dict[str, tuple[Register, Any]] = {
    "events.on": (lambda mem, got: mem.events.on("e", got.append), 1),
    "events.on, wildcard": (
        lambda mem, got: mem.events.on("**", lambda *a: got.append(a)),
        ("e", 1),
    ),
    "events.once": (lambda mem, got: mem.events.once("e", got.append), 1),
    "events.stream": (lambda mem, got: mem.events.stream("e"), None),
    "presence.on_change": (
        lambda mem, got: mem.presence.on_change(lambda peer, fields: got.append(fields)),
        {"x": 1},
    ),
    "presence.update": (lambda mem, got: got.append(mem.presence.update(y=1) > 0), True),
    "presence.all": (lambda mem, got: got.append(mem.presence.all()), {}),
    "on connected": (lambda mem, got: mem.on("connected", got.append), "client"),
    "on received_patches": (
        lambda mem, got: mem.on("received_patches", lambda patches: got.append(len(patches))),
        1,
    ),
    "observe": (lambda mem, got: mem.observe("n", got.append), 1),
}


@pytest.fixture(autouse=True)
def leaves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer without handles does not wait for the next copy."""
    monkeypatch.setattr("memsync.leaver.STAY", 0)


def speak(host: MemSync[Any]) -> None:
    host.events.emit("e", 1)
    host.presence.update(x=1)
    host.patch({"$inc": {"n": 1}})


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_joins_with_its_first_callback(way: str) -> None:
    register, expected = WAYS[way]
    with MemSync("obj", {"n": 0}, engine="memory") as host:
        copy: MemSync[Any] = pickle.loads(pickle.dumps(MemSync("obj", engine="memory")))
        got: list[Any] = []
        kept = register(copy, got)
        assert len(host.peers) == 1
        speak(host)
        if way == "events.stream":
            assert next(kept).args == (1,)
        else:
            until(lambda: expected in got, message=lambda: repr(got))
        copy.stop()


@pytest.mark.process
@pytest.mark.parametrize("way", ["events.on", "presence.on_change", "on received_patches"])
def test_the_handle_of_a_forked_child_joins_with_its_first_callback(way: str) -> None:
    register, expected = WAYS[way]
    with MemSync("obj", {"n": 0}) as host:
        told = os.pipe()
        child = os.fork()
        if not child:
            try:
                got: list[Any] = []
                register(host, got)
                os.write(told[1], b"joined")
                until(lambda: expected in got, message=lambda: repr(got))
                host.stop()
                os.write(told[1], b"called")
            finally:
                os._exit(0)
        os.close(told[1])
        assert os.read(told[0], 6) == b"joined"
        speak(host)
        assert os.read(told[0], 6) == b"called"
        os.waitpid(child, 0)
        os.close(told[0])


def test_a_registration_that_cannot_join_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy: MemSync[Any] = pickle.loads(pickle.dumps(MemSync("obj", engine="memory")))

    def fails(*args: Any) -> Any:
        raise RendezvousError("mine")

    calls: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(copy._peer, "_start", fails)
        with pytest.raises(RendezvousError):
            copy.events.on("e", calls.append)
        with pytest.raises(RendezvousError):
            copy.on("connected", calls.append)
        with pytest.raises(RendezvousError):
            copy.presence.on_change(lambda *change: calls.append(change))
    assert not copy._dispatcher.has_callbacks()
    copy.start()
    copy.events.emit("e", 1)
    copy.stop()
    assert calls == []


def test_a_callback_before_the_start_starts_nothing_where_the_program_starts() -> None:
    mem: MemSync[Any] = MemSync("obj", engine="memory")
    calls: list[Any] = []
    mem.on("connected", calls.append)
    mem.events.on("e", calls.append)
    mem.presence.on_change(lambda peer, fields: calls.append(fields))
    assert mem.get_status()["status"] == "stopped"
    with mem:
        speak(mem)
    assert calls == ["host", 1, {"x": 1}]
