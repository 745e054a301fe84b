"""G10: `mem.events` with each engine: names, handlers, order, waiting, and what overflows."""

from __future__ import annotations

import pickle
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import pytest

from memsync import (
    ConditionError,
    Event,
    Gap,
    MemSync,
    NotSerializableError,
    NotStartedError,
    ReadOnlyError,
    TooLargeError,
    UpdateError,
    UsageError,
    WaitTimeoutError,
)
from memsync.replication.codec import decode_entry
from memsync.runtime import event_router
from memsync.testing import until

New = Callable[..., MemSync[Any]]


@pytest.fixture
def new(engine: str) -> Iterator[New]:
    """A function that makes one more started handle of the object "obj"; all are stopped."""
    with ExitStack() as stack:

        def new(data: Any = None, options: Any = None) -> MemSync[Any]:
            return stack.enter_context(MemSync("obj", data, options, engine=engine))

        yield new


def heard(mem: MemSync[Any], name: str = "**") -> list[Any]:
    """A list to which a handler appends what it is called with."""
    calls: list[Any] = []
    mem.events.on(name, lambda *args: calls.append(args))
    return calls


@contextmanager
def emitting(name: str, *args: Any, by: MemSync[Any], to: MemSync[Any]) -> Iterator[None]:
    """A peer emits an event once, when a handle of another one has begun to wait for more."""
    streams = to.events._router()._streams
    before = len(streams)

    def emit() -> None:
        until(lambda: len(streams) > before)
        by.events.emit(name, *args)

    thread = threading.Thread(target=emit)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def story(mem: MemSync[Any]) -> list[Any]:
    """A list of all that a handle gets: the versions of patches, and events."""
    calls: list[Any] = []
    mem.on("received_patches", lambda patches: calls.extend(each["version"] for each in patches))
    mem.events.on("**", lambda *args: calls.append(args))
    return calls


def test_every_peer_gets_an_event_the_emitter_too_once_and_in_order(new: New) -> None:
    host, client = new(), new()
    calls = [heard(host, "n"), heard(client, "n")]
    versions = [(host, client)[n % 2].events.emit("n", n, {"at": [n]}) for n in range(20)]
    assert versions == sorted(versions)
    until(lambda: [len(each) for each in calls] == [20, 20])
    assert calls[0] == calls[1] == [(n, {"at": [n]}) for n in range(20)]


MATCHES = [
    ("a", ["a"]),
    ("a.b", ["a.b"]),
    ("*", ["a", "b"]),
    ("a.*", ["a.b", "a.c"]),
    ("*.b", ["a.b"]),
    ("a.*.c", ["a.b.c"]),
    ("a.**", ["a.b", "a.c", "a.b.c", "a.b.c.d"]),
    ("*.b.**", ["a.b.c", "a.b.c.d"]),
    ("**", ["a", "b", "a.b", "a.c", "a.b.c", "a.b.c.d"]),
    ("c", []),
]


@pytest.mark.parametrize(("pattern", "expected"), MATCHES)
def test_a_star_is_one_part_and_two_are_the_rest(pattern: str, expected: list[str]) -> None:
    with MemSync("obj", engine="memory") as mem:
        names: list[str] = []
        if "*" in pattern:
            mem.events.on(pattern, lambda name, arg: names.append(name))
        else:
            mem.events.on(pattern, lambda arg: names.append(pattern))
        stream = mem.events.stream(pattern)
        for name in ("a", "b", "a.b", "a.c", "a.b.c", "a.b.c.d"):
            mem.events.emit(name, 1)
    assert names == expected
    assert [each.name for each in stream if isinstance(each, Event)] == expected


def test_an_event_comes_in_the_order_of_the_patches_and_after_its_own(new: New) -> None:
    host, client = new({"n": 0}), new()
    stories = [story(host), story(client)]
    first = host.patch({"$inc": {"n": 1}})
    host.events.emit("between", 1)
    host.patch({"$inc": {"n": 1}}, emit=("with", 2))
    client.patch({"$set": {"n": 2}}, where={}, emit=("unchanged", 3))
    client.submit({"$inc": {"n": 1}}, emit="plain").result(10)
    last = host.patch({"$inc": {"n": 1}})
    expected: list[Any] = [first, ("between", 1), first + 2, ("with", 2), ("unchanged", 3)]
    expected += [first + 4, ("plain",), last]
    until(lambda: stories == [expected, expected], message=lambda: repr(stories))


def test_the_event_of_a_refused_write_never_comes(new: New) -> None:
    host, client = new({"n": 0, "text": ""}), new()
    calls = [heard(host), heard(client)]
    with pytest.raises(ConditionError):
        client.patch({"$inc": {"n": 1}}, where={"n": 5}, emit="met")
    with pytest.raises(UpdateError):
        client.patch({"$inc": {"text": 1}}, emit="added")
    client.events.emit("last")
    until(lambda: calls == [[("last",)], [("last",)]])


def test_a_reader_emits_but_a_patch_with_an_event_needs_the_role_writer(new: New) -> None:
    host, reader = new(), new(None, {"peer": {"roles": []}})
    calls = heard(host, "x")
    reader.events.emit("x", 1)
    until(lambda: calls == [(1,)])
    updates: list[Any] = [{"$set": {"n": 1}}, []]
    for write in (reader.patch, reader.submit):
        for update in updates:
            with pytest.raises(ReadOnlyError, match=r"add 'writer' .*events\.emit\(\)") as caught:
                write(update, emit="x")
            assert caught.value.outcome == "not_applied"
    with pytest.raises(ReadOnlyError) as caught:
        reader.patch({"$set": {"n": 1}})
    assert "emit" not in str(caught.value)


def test_once_and_off_also_inside_a_handler(new: New) -> None:
    mem = new()
    calls: list[str] = []

    def itself() -> None:
        calls.append("itself")
        mem.events.off("x", itself)

    def others() -> None:
        calls.append("others")
        later.cancel()
        mem.events.off("y")

    mem.events.once("x", lambda: calls.append("once"))
    mem.events.on("x", itself)
    mem.events.on("x", others)
    later = mem.events.on("x", lambda: calls.append("later"))
    mem.events.on("y", lambda: calls.append("y"))
    for name in ("x", "y", "x"):
        mem.events.emit(name)
    until(lambda: calls == ["once", "itself", "others", "others"], message=lambda: repr(calls))
    with mem.events.on("z", lambda: calls.append("z")) as subscription:
        subscription.cancel()
    mem.events.emit("z")
    mem.events.off("nobody")
    assert mem.events.wait("z", 5, since=0).name == "z"
    assert "z" not in calls


def test_a_handler_that_raises_stops_no_other_and_may_emit(
    new: New, caplog: pytest.LogCaptureFixture
) -> None:
    mem = new({"n": 0})
    calls: list[Any] = []

    def fails() -> None:
        raise RuntimeError("mine")

    mem.events.on("x", fails)
    mem.events.on("x", lambda: calls.append(mem.events.emit("y", mem.patch({"$inc": {"n": 1}}))))
    mem.events.on("y", calls.append)
    mem.events.emit("x")
    until(lambda: len(calls) == 2)
    assert "event handler failed" in caplog.text


BAD_NAMES: list[Any] = ["", "a..b", ".a", "a.", "a*", "**.a", "x" * 301, 5, None, b"x"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused_everywhere(name: Any) -> None:
    with MemSync("obj", {"n": 0}, engine="memory") as mem:
        events, version = mem.events, mem.version
        calls: list[Callable[[], Any]] = [
            lambda: events.on(name, print),
            lambda: events.once(name, print),
            lambda: events.off(name),
            lambda: events.emit(name),
            lambda: events.wait(name, 1),
            lambda: events.stream(name),
            lambda: mem.patch({"$inc": {"n": 1}}, emit=(name, 1)),
            lambda: mem.submit({"$inc": {"n": 1}}, emit=(name, 1)),
        ]
        for call in calls:
            with pytest.raises(UsageError, match="event"):
                call()
        assert (mem.version, mem.data["n"]) == (version, 0)


def test_other_bad_arguments_are_refused() -> None:
    with MemSync("obj", {"n": 0}, engine="memory") as mem:
        events = mem.events
        with pytest.raises(UsageError, match=r"'a\.\*' has a wildcard"):
            events.emit("a.*")
        with pytest.raises(UsageError, match="must be callable"):
            events.on("a", "no function")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="must be callable"):
            events.off("a", 5)  # type: ignore[arg-type]
        with pytest.raises(NotSerializableError, match="arguments of the event 'a'") as caught:
            events.emit("a", 1, {"x": object()})
        assert caught.value.path is not None
        with pytest.raises(TooLargeError, match="put the value into the object"):
            events.emit("a", "x" * (1 << 16))
        bad: list[Any] = [5, [], (), {"a": 1}, b"a"]
        for wrong in bad:
            with pytest.raises(UsageError, match="emit must be a name, or a tuple"):
                mem.patch({"$inc": {"n": 1}}, emit=wrong)
        for since in (-1, "3", 1.5, True):
            with pytest.raises(UsageError, match="since must be a version"):
                events.stream("a", since=since)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="timeout"):
            events.wait("a", timeout=-1)
        assert mem.data["n"] == 0


def test_before_the_start_handlers_register_and_calls_raise(engine: str) -> None:
    mem = MemSync("obj", engine=engine)
    calls = heard(mem, "x")
    for call in (mem.events.emit, mem.events.wait, mem.events.stream):
        with pytest.raises(NotStartedError):
            call("x")
    for round in range(2):  # a handler stays over a stop and a start
        mem.start()
        mem.events.emit("x", round)
        stream = mem.events.stream("x")
        mem.stop()
        assert list(stream) == []
        assert calls[-1] == (round,)
    with pytest.raises(NotStartedError):
        mem.events.emit("x")


def test_wait_gets_the_next_event_or_one_since_a_version(new: New) -> None:
    host, client = new(), new()
    asked = host.events.emit("ask")
    answered = client.events.emit("answer.late", 1)
    found = host.events.wait("answer.*", timeout=10, since=asked)
    assert found == Event("answer.late", (1,), answered, host.epoch, client.id)
    with pytest.raises(WaitTimeoutError, match=r"no event 'answer\.\*' came within 0\.05 s"):
        host.events.wait("answer.*", timeout=0.05, since=answered)
    with emitting("answer.now", 2, by=client, to=host):
        assert host.events.wait("answer.**", timeout=30).args == (2,)


def test_a_thread_that_waits_ends_when_the_handle_stops(engine: str) -> None:
    mem = MemSync("obj", engine=engine)
    mem.start()
    mem.events.emit("x")
    stream = mem.events.stream("x", since=0)
    ended: list[Any] = []

    def wait() -> None:
        with pytest.raises(NotStartedError):
            mem.events.wait("y", timeout=20)
        ended.append("waited")

    threads = [
        threading.Thread(target=lambda: ended.append(list(stream))),
        threading.Thread(target=wait),
    ]
    for thread in threads:
        thread.start()
    mem.stop()
    for thread in threads:
        thread.join(10)
    assert len(ended) == 2


def test_a_stream_replays_what_the_log_holds_and_counts_the_rest(new: New) -> None:
    mem = new(None, {"network": {"max_log": 10}})
    versions = [mem.events.emit("n", n) for n in range(30)]
    mem.events.emit("other")

    def first(since: int) -> list[Any]:
        with mem.events.stream("n", since=since) as stream:
            items = [next(stream)]
            while not isinstance(items[-1], Event) or items[-1].args != (29,):
                items.append(next(stream))
            return [each if isinstance(each, Gap) else each.args[0] for each in items]

    assert first(versions[25]) == [26, 27, 28, 29]
    assert first(versions[20]) == [21, 22, 23, 24, 25, 26, 27, 28, 29]
    assert first(versions[10]) == [Gap(10), *range(21, 30)]
    assert first(0) == [Gap(21), *range(21, 30)]


def test_no_event_is_in_both_the_log_and_what_arrives_and_none_in_neither(new: New) -> None:
    host, client = new(), new()
    start = host.version
    ended = threading.Event()

    def emit() -> None:
        for n in range(300):
            host.submit([], emit=("n", n))
        ended.set()

    thread = threading.Thread(target=emit)
    thread.start()
    found: list[list[Any]] = []
    while not ended.is_set() or len(found) < 3:
        with client.events.stream("n", since=start) as stream:
            numbers: list[Any] = []
            while not numbers or numbers[-1] != 299:
                item = next(stream)
                assert isinstance(item, Event), item
                numbers.append(item.args[0])
            found.append(numbers)
    thread.join()
    assert all(each == list(range(300)) for each in found)


@pytest.mark.parametrize("more", [3, 15, 40])
def test_a_gap_has_no_event_that_arrives_while_the_log_is_read(new: New, more: int) -> None:
    mem = new(None, {"network": {"max_log": 10}})
    first, *_ = (mem.events.emit("n", n) for n in range(20))
    log = mem._running().participant.log

    class Overtaken(deque[bytes]):
        """Its log goes on before it is read."""

        def copy(self) -> Any:
            log._bodies = deque(self)
            for n in range(20, 20 + more):
                mem.events.emit("n", n)
            return log._bodies.copy()

    log._bodies = Overtaken(log._bodies)
    with mem.events.stream("n", since=first) as stream:
        gap = next(stream)
        numbers: list[Any] = []
        while not numbers or numbers[-1] != 19 + more:
            item = next(stream)
            assert isinstance(item, Event), item
            numbers.append(item.args[0])
    assert numbers == list(range(numbers[0], 20 + more))
    assert gap == Gap(numbers[0] - 1)


def test_a_wait_since_a_recent_version_decodes_no_old_entries(new: New) -> None:
    mem = new()
    for _ in range(500):
        version = mem.events.emit("n")
    with mock.patch("memsync.replication.log.decode_entry", wraps=decode_entry) as decode:
        mem.events.wait("n", timeout=20, since=version - 1)
        assert decode.call_count <= 2


def test_a_version_of_an_earlier_group_is_followed_by_a_gap(engine: str) -> None:
    with MemSync("obj", engine=engine) as mem:
        versions = [mem.events.emit("n", n) for n in range(20)]
    with (
        MemSync("obj", engine=engine) as mem,
        MemSync("obj", options={"peer": {"roles": []}}, engine=engine) as reader,
    ):
        mem.events.emit("n", "before")
        for handle in (mem, reader):
            until(lambda: handle.version == mem.version)  # noqa: B023 - it is called at once
            assert handle.version < versions[-1]
            stream = handle.events.stream("n", since=versions[-1])
            assert next(stream) == Gap(None)
            for n in range(3):
                mem.events.emit("n", n)
            found = [next(stream) for _ in range(3)]
            assert [each.args for each in found if isinstance(each, Event)] == [(0,), (1,), (2,)]
            with emitting("n", "awaited", by=mem, to=handle):
                assert handle.events.wait("n", 30, since=versions[-1]).args == ("awaited",)
        assert handle.version < versions[-1]


@pytest.mark.parametrize("last", [1, 2])
def test_a_version_that_another_peer_has_reached_first_is_exact(last: int) -> None:
    with MemSync("obj") as host, MemSync("obj") as client:
        participant = client._running().participant
        locked, may_go_on = threading.Event(), threading.Event()

        def hold_up() -> None:
            with participant.guard:
                locked.set()
                may_go_on.wait(20)

        thread = threading.Thread(target=hold_up)
        thread.start()
        locked.wait(20)
        versions = [host.events.emit("n", n) for n in range(3)]
        assert participant.state.version < versions[0]
        timer = threading.Timer(0.1, may_go_on.set)
        timer.start()
        with client.events.stream("n", since=versions[last]) as stream:
            host.events.emit("n", 3)
            found = [next(stream) for _ in range(3 - last)]
        assert [each.args for each in found if isinstance(each, Event)] == [(2,), (3,)][last - 1 :]
        thread.join()
        timer.join()


def test_g10_a_slow_handler_gets_one_gap_with_the_count(
    new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_router, "WAITING_MAX", 5)
    mem = new()
    calls: list[Any] = []
    may_go_on = threading.Event()

    def slow(n: int) -> None:
        calls.append(n)
        may_go_on.wait(20)

    mem.events.on("n", slow)
    mem.on("gap", lambda count: calls.append(("gap", count)))
    for n in range(20):
        mem.events.emit("n", n)
        mem.events.emit("nobody listens")
        until(lambda: bool(calls))
    may_go_on.set()
    until(lambda: ("gap", 14) in calls, message=lambda: repr(calls))
    mem.events.emit("n", 20)
    until(lambda: calls[-1] == 20)
    assert calls == [0, 1, 2, 3, 4, 5, ("gap", 14), 20]


def test_g10_a_slow_stream_gets_one_gap_and_goes_on(
    new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_router, "WAITING_BYTES", 100)
    mem = new()
    stream = mem.events.stream("n")
    for n in range(10):
        mem.events.emit("n", n, "x" * 30)
    items = [next(stream) for _ in range(4)]
    assert [item.args[0] for item in items[:3] if isinstance(item, Event)] == [0, 1, 2]
    assert items[3] == Gap(7)
    mem.events.emit("n", 10, "x" * 1000)  # one that is larger than all room still comes
    last = next(stream)
    assert isinstance(last, Event)
    assert last.args[0] == 10


def test_copies_by_pickle_have_handlers_of_their_own(new: New, engine: str) -> None:
    mem = new()
    copy: MemSync[Any] = pickle.loads(pickle.dumps(mem))
    copy.start()
    calls = heard(copy, "x"), heard(mem, "x")
    mem.events.emit("x", 1)
    until(lambda: calls == ([(1,)], [(1,)]))
    stream = copy.events.stream("x")
    copy.stop()
    assert list(stream) == []
    mem.events.emit("x", 2)
    until(lambda: calls[1] == [(1,), (2,)])
    assert calls[0] == [(1,)]
